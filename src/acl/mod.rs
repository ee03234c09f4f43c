//! Users and what they may do.
//!
//! ```text
//!  rules ──► User ─┬─ passwords (SHA-256)
//!                  ├─ root Selector ─┐
//!                  └─ Selectors ─────┴─ a bit a command · key patterns · channel patterns · databases
//!
//!  Call ──► User::check ──► Ok │ Denied { reason, at }
//! ```
//!
//! A user may make a call if one of its selectors allows all of it. Everything that a check needs is worked out when a rule
//! is set: a command is one bit, a pattern that is a prefix and a star is one comparison. [`Users`] holds all of them and
//! says who somebody is; [`AclLog`] remembers who was refused what.
//!
//! Invariants: nothing here knows clients or the server; a failed change leaves a user as it was; no pattern, name or
//! password that a client sends makes a check take more than the product of their lengths, or makes anything grow that has
//! no limit.

mod catalog;
mod check;
mod file;
mod log;
mod password;
mod path;
mod rules;
mod selector;
mod user;
mod users;

pub use catalog::{Catalog, CommandFacts};
pub use check::{Access, Call, Denied, Name, Reason};
pub use file::{FileError, read_file, write_file};
pub use log::{AclLog, Context, Entry, Event};
pub use password::{GENERATED_BITS_MAX, generate_password};
pub use path::{Extent, PathName};
pub use rules::{NameError, RuleError, UnmatchedParenthesis, check_name, merge_selectors};
pub use selector::Selector;
pub use user::User;
pub use users::{UserId, Users};
