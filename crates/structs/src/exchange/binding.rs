//! Bindings: which destination an exchange leads to, and when.

use std::fmt;

use super::arguments::{Arguments, Pairs};
use super::options::Target;

/// The longest key of a binding, and of a message that is published, in bytes: as in AMQP.
pub const ROUTING_KEY_BYTES_MAX: usize = 255;

/// The most arguments a binding may have.
pub const BINDING_ARGUMENTS_MAX: usize = 1024;

/// The highest weight in an exchange of type `hash`.
pub const WEIGHT_MAX: u32 = 10_000;

/// A binding, as it is to be made or removed.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// What kind of destination it is.
    pub target: Target,
    /// The name of the destination.
    pub name: &'a [u8],
    /// The key: what it means is up to the type of the exchange.
    pub rkey: &'a [u8],
    /// Names and values of arguments, in any order.
    pub args: &'a [(&'a [u8], &'a [u8])],
}

/// A binding that an exchange has.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// What kind of destination it is.
    pub target: Target,
    /// The name of the destination.
    pub name: &'a [u8],
    /// The key.
    pub rkey: &'a [u8],
    pub(super) args: &'a Arguments,
}

impl<'a> Bound<'a> {
    /// Names and values of its arguments, in the order of names.
    pub fn args(&self) -> Pairs<'a> {
        self.args.pairs()
    }
}

/// Number of a destination of one exchange. It stays until the last binding to the destination goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationId(pub(super) u32);

/// Why a binding cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// The key is longer than [`ROUTING_KEY_BYTES_MAX`].
    KeyTooLong,
    /// More than [`BINDING_ARGUMENTS_MAX`] arguments.
    TooManyArguments,
    /// An argument is given twice.
    ArgumentTwice,
    /// The key is no weight.
    Weight,
    /// The argument `x-match` of a headers exchange has a value that it cannot have.
    XMatch,
    /// There are as many destinations as can be numbered.
    Full,
}

impl BindError {
    /// The reason, as a client is told.
    pub fn text(self) -> &'static str {
        match self {
            BindError::KeyTooLong => "a binding key may have 255 bytes at most",
            BindError::TooManyArguments => "a binding may have 1024 arguments at most",
            BindError::ArgumentTwice => "an argument of the binding is given twice",
            BindError::Weight => "the binding key of a hash exchange must be a weight from 1 to 10000",
            BindError::XMatch => "x-match must be all, any, all-with-x or any-with-x",
            BindError::Full => "the exchange has too many destinations",
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for BindError {}
