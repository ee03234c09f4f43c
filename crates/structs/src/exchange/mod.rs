//! The exchange of a broker: bindings, and which of them a message takes.
//!
//! ```text
//!  face           the exchange: bindings made, removed, listed, walked
//!  ├─ options     what it is declared to be
//!  ├─ binding     what a binding is; its arguments
//!  ├─ codec       as bytes, whole or frozen
//!  └─ route       which destinations a message goes to
//!      ├─ topic   patterns of words
//!      ├─ headers conditions on headers
//!      └─ hashing consistent hashing
//! ```
//!
//! An exchange knows destinations by their kind and name alone: whether they exist is not its matter, and neither are
//! messages.

mod arguments;
mod binding;
mod face;
mod numbers;
mod options;

pub use arguments::Pairs;
pub use binding::{BINDING_ARGUMENTS_MAX, BindError, Binding, Bound, DestinationId, ROUTING_KEY_BYTES_MAX, WEIGHT_MAX};
pub use face::{Corrupt, Exchange, ExchangeBuilder, Sieve};
pub use options::{ExchangeOptions, ExchangeType, Target};
