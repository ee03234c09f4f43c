//! Rows: a command's [`Spec`] together with what runs it.
//!
//! A family of commands is a list of rows; the server joins all lists into one lookup table when it starts. Commands on
//! data run with a [`Cx`] ([`DataFn`]); commands that need the whole server have a type of function of their own, which
//! this layer does not know, hence the type parameter.

use super::cx::Cx;
use super::error::Error;
use super::spec::Spec;

/// Runs a command on data. What it returns as an error becomes the reply; nothing may have been written to the reply
/// or changed in the store before that.
pub type DataFn = fn(&mut Cx<'_>) -> Result<(), Error>;

/// One command or subcommand.
pub struct Row<F: 'static> {
    /// What it is.
    pub spec: Spec,
    /// What runs it; `None` of a container that needs a subcommand.
    pub run: Option<F>,
    /// Its subcommands.
    pub subs: &'static [Row<F>],
}

impl<F: Copy> Row<F> {
    /// A command.
    pub const fn new(spec: Spec, run: F) -> Row<F> {
        Row { spec, run: Some(run), subs: &[] }
    }

    /// A command that is nothing but its subcommands.
    pub const fn container(spec: Spec, subs: &'static [Row<F>]) -> Row<F> {
        Row { spec, run: None, subs }
    }

    /// A command that also runs by itself.
    pub const fn with_subs(spec: Spec, run: F, subs: &'static [Row<F>]) -> Row<F> {
        Row { spec, run: Some(run), subs }
    }
}
