//! The exchange of a broker: bindings, and which of them a message takes.
//!
//! ```text
//!  face            the exchange: bindings made, removed, listed
//!  ├─ options      what it is declared to be
//!  ├─ binding      what a binding is; its arguments
//!  ├─ codec        as bytes; frozen: as it was, while it changes
//!  └─ index        which destinations a message goes to, by the exchange's type
//!      ├─ topic    patterns of words
//!      ├─ headers  conditions on headers
//!      └─ hashing  shares of routing keys
//! ```
//!
//! An exchange knows destinations by their kind and name alone: whether they exist is not its matter, and neither are
//! messages. Where one exchange leads to others, whoever routes walks from one to the next.

mod arguments;
mod bag;
mod binding;
mod codec;
mod face;
mod frozen;
mod hashing;
mod headers;
mod index;
mod numbered;
mod numbers;
mod options;
mod sieve;
mod topic;
mod word;

pub use arguments::Pairs;
pub use binding::{BINDING_ARGUMENTS_MAX, BindError, Binding, Bound, DestinationId, ROUTING_KEY_BYTES_MAX, WEIGHT_MAX};
pub use codec::{Corrupt, ExchangeBuilder};
pub use face::Exchange;
pub use options::{ExchangeOptions, ExchangeType, Target};
pub use sieve::Sieve;
