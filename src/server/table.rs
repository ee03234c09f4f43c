//! The lookup table: every family's rows under the names by which they are called.

use super::{ServerFn, commands};
use crate::acl::{Catalog, CommandFacts};
use crate::command::FAMILIES;
use crate::command::error::Error;
use crate::command::spec::{Acl, Flags, KeyFlags, Spec};
use crate::command::table::{DataFn, Row};
use crate::config::Config;
use hashbrown::HashMap;
use std::sync::OnceLock;

/// What runs a command.
#[derive(Clone, Copy)]
pub enum Run {
    /// A command on data.
    Data(DataFn),
    /// A command that needs the whole server.
    Server(ServerFn),
    /// Nothing: it needs a subcommand.
    Nothing,
}

/// A command as the server knows it.
pub struct Command {
    /// What it is.
    pub spec: &'static Spec,
    /// `get`, or `config|get`.
    pub full_name: &'static str,
    /// Its place in the statistics.
    pub id: usize,
    /// What runs it.
    pub run: Run,
    /// Its subcommands.
    pub subs: Vec<Command>,
    /// Place of the first key among the arguments, where that is the same for every call.
    pub first_key_at: Option<u16>,
    /// See [`Spec::only_key`].
    pub only_key: Option<(usize, KeyFlags)>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.full_name)
    }
}

impl Command {
    /// Its flags.
    #[inline]
    pub fn flags(&self) -> Flags {
        self.spec.flags
    }

    /// The command that a call means: of a container the subcommand.
    pub fn resolve(&'static self, sub: Option<&[u8]>) -> Result<&'static Command, Missing> {
        match sub {
            Some(name) if !self.subs.is_empty() => self.sub(name).ok_or(Missing::Subcommand(self)),
            _ => Ok(self),
        }
    }

    /// The subcommand called `name`, in upper or lower case.
    pub fn sub(&self, name: &[u8]) -> Option<&Command> {
        self.subs.iter().find(|c| name.eq_ignore_ascii_case(c.spec.name.as_bytes()))
    }
}

static TABLE: OnceLock<Vec<Command>> = OnceLock::new();
static CATALOG: OnceLock<Catalog> = OnceLock::new();

/// What ACL rules speak of: all commands by their ids, under their own names whatever they are called by.
pub fn catalog() -> &'static Catalog {
    fn collect(commands: &[Command], is_sub: bool, facts: &mut Vec<(usize, CommandFacts)>) {
        for command in commands {
            let subs = command.subs.iter().map(|sub| sub.id).collect();
            facts.push((command.id, CommandFacts { name: command.full_name, acl: command.spec.acl, subs, is_sub }));
            collect(&command.subs, true, facts);
        }
    }
    CATALOG.get_or_init(|| {
        let mut facts = Vec::new();
        collect(commands(), false, &mut facts);
        facts.sort_unstable_by_key(|(id, _)| *id);
        Catalog::new(facts.into_iter().map(|(_, facts)| facts).collect())
    })
}

/// Every command, in the order of the families; subcommands inside their containers.
pub fn commands() -> &'static [Command] {
    TABLE.get_or_init(|| {
        let mut next_id = 0;
        let data = FAMILIES.iter().copied().flatten().map(|row| from_row(row, None, Run::Data, &mut next_id));
        let mut all: Vec<Command> = data.collect();
        let server = commands::FAMILIES.iter().copied().flatten();
        all.extend(server.map(|row| from_row(row, None, Run::Server, &mut next_id)));
        all.sort_by_key(|c| c.full_name);
        all
    })
}

/// The command with this name, in upper or lower case, whatever clients call it.
pub(super) fn find(name: &[u8]) -> Option<&'static Command> {
    let name = name.to_ascii_lowercase();
    let all = commands();
    all.binary_search_by(|command| command.full_name.as_bytes().cmp(&name)).ok().and_then(|at| all.get(at))
}

/// Number of commands and subcommands: ids are below it.
pub fn command_count() -> usize {
    fn count(commands: &[Command]) -> usize {
        commands.iter().map(|c| 1 + count(&c.subs)).sum()
    }
    count(commands())
}

fn from_row<F: Copy>(row: &'static Row<F>, container: Option<&str>, run: fn(F) -> Run, next_id: &mut usize) -> Command {
    let full_name: &'static str = match container {
        None => row.spec.name,
        // Once a program: the table lives as long as it.
        Some(container) => Box::leak(format!("{container}|{}", row.spec.name).into_boxed_str()),
    };
    let id = *next_id;
    *next_id += 1;
    let subs = row.subs.iter().map(|sub| from_row(sub, Some(full_name), run, next_id)).collect();
    let first_key_at = match row.spec.keys.first() {
        Some(crate::command::spec::KeySpec { begin: crate::command::spec::BeginSearch::Index(at), find, .. }) => {
            matches!(find, crate::command::spec::FindKeys::Range { .. }).then_some(*at)
        }
        _ => None,
    };
    Command {
        spec: &row.spec,
        full_name,
        id,
        run: row.run.map_or(Run::Nothing, run),
        subs,
        first_key_at,
        only_key: row.spec.only_key(),
    }
}

/// Longest name of a command, a new one given by `rename-command` included.
const NAME_MAX: usize = 128;

/// Names under which commands are called: their own, unless the configuration renamed them.
#[derive(Debug)]
pub struct Names {
    by_name: HashMap<Box<[u8]>, &'static Command, foldhash::fast::FixedState>,
}

impl Names {
    /// Names after a configuration's `rename-command` lines.
    pub fn new(config: &Config) -> Names {
        let mut by_name = HashMap::with_hasher(foldhash::fast::FixedState::default());
        for command in commands() {
            by_name.insert(command.full_name.as_bytes().into(), command);
        }
        for rename in &config.renamed_commands {
            if let Some(command) = by_name.remove(rename.from.to_ascii_lowercase().as_bytes())
                && !rename.to.is_empty()
            {
                by_name.insert(rename.to.to_ascii_lowercase().into_bytes().into(), command);
            }
        }
        Names { by_name }
    }

    /// Whether the `rename-command` lines of a configuration can be followed.
    ///
    /// # Errors
    /// A command that is not there, a name that is taken, a name that is too long.
    pub fn check(config: &Config) -> Result<(), String> {
        let mut names: HashMap<String, ()> = commands().iter().map(|c| (c.full_name.to_owned(), ())).collect();
        for rename in &config.renamed_commands {
            let (from, to) = (rename.from.to_ascii_lowercase(), rename.to.to_ascii_lowercase());
            if names.remove(&from).is_none() {
                return Err(format!("No such command in rename-command: '{}'", rename.from));
            }
            if to.len() > NAME_MAX {
                return Err(format!("Target command name is longer than {NAME_MAX} bytes: '{}'", rename.to));
            }
            if !to.is_empty() && names.insert(to, ()).is_some() {
                return Err(format!("Target command name already exists: '{}'", rename.to));
            }
        }
        Ok(())
    }

    /// The command called `name`, in upper or lower case; a container for all its subcommands.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&'static Command> {
        let mut lower = [0; NAME_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(&*lower).copied()
    }

    /// All names with their commands.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &'static Command)> {
        self.by_name.iter().map(|(name, command)| (&**name, *command))
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether every command was renamed away.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// What of a call does not exist.
#[derive(Clone, Copy, Debug)]
pub enum Missing {
    /// The command.
    Command,
    /// The subcommand of this container.
    Subcommand(&'static Command),
}

impl Missing {
    /// The error reply.
    pub fn error(self, argv: weir_resp::Argv<'_>) -> Error {
        match self {
            Missing::Command => Error::unknown_command(argv.name(), argv.skip(1).iter()),
            Missing::Subcommand(container) => Error::unknown_subcommand(argv.at(1), container.spec.name),
        }
    }
}

/// Every ACL category with its wire name, in the order of ACL CAT.
pub fn acl_names(acl: Acl) -> impl Iterator<Item = String> {
    acl.iter_names().map(|(name, _)| format!("@{}", name.to_ascii_lowercase()))
}
