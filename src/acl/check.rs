//! May a user make this call?
//!
//! Each selector is asked by itself, in the order databases, commands, keys, channels, and the first that allows all of it
//! is enough. If none does, the reason that came furthest in that order is told: who may run the command but not with this
//! key is told about the key.

use super::selector::{Databases, KeyPattern, Patterns, Selector};
use super::user::User;
use crate::command::args::is;
use crate::command::spec::{Acl, ChannelArgs, DatabaseArgs, Flags, KeyFlags, Spec};
use weir_resp::Argv;

bitflags::bitflags! {
    /// What may be done with keys.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Access: u8 {
        /// Their data may be returned, copied or compared.
        const READ = 1 << 0;
        /// They may be changed, added to or removed.
        const WRITE = 1 << 1;
    }
}

impl Access {
    /// What a command needs that does this with a key. Nothing where it only looks whether and what it is.
    fn needed(flags: KeyFlags) -> Access {
        let mut access = Access::empty();
        access.set(Access::READ, flags.contains(KeyFlags::ACCESS));
        access.set(Access::WRITE, flags.intersects(KeyFlags::INSERT | KeyFlags::DELETE | KeyFlags::UPDATE));
        access
    }
}

/// A call that somebody wants to make. Copied, not moved, into each selector.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The command or subcommand.
    pub spec: &'static Spec,
    /// Its number in the catalog.
    pub id: usize,
    /// Its name and arguments.
    pub argv: Argv<'a>,
    /// The database that it would run on.
    pub db: usize,
    /// How many databases there are.
    pub databases: usize,
}

/// Why a call is refused. Later ones are told rather than earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// A database is not allowed.
    Database,
    /// The command is not.
    Command,
    /// A key is not, or not for this.
    Key,
    /// Name or password were wrong.
    Auth,
    /// A channel is not.
    Channel,
    /// A certificate names nobody.
    Certificate,
}

impl Reason {
    /// As ACL LOG calls it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Database => "database",
            Reason::Key => "key",
            Reason::Auth => "auth",
            Reason::Channel => "channel",
            Reason::Certificate => "tls-cert",
        }
    }
}

/// A call was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Denied {
    /// Why.
    pub reason: Reason,
    /// Because of which argument; 0, the name, where it is none in particular.
    pub at: usize,
}

impl User {
    /// Whether this user may make a call with these keys (the place of each among the arguments, and what is done with it).
    ///
    /// # Errors
    /// The reason that is told; see above.
    #[inline]
    pub fn check(&self, call: Call<'_>, keys: impl Iterator<Item = (usize, KeyFlags)> + Clone) -> Result<(), Denied> {
        let mut told: Option<Denied> = None;
        for selector in self.all_selectors() {
            match selector.check(call, keys.clone()) {
                Ok(()) => return Ok(()),
                Err(denied) => {
                    let further = told.is_none_or(|told| (denied.reason, denied.at) > (told.reason, told.at));
                    told = if further { Some(denied) } else { told };
                }
            }
        }
        Err(told.unwrap_or(Denied { reason: Reason::Command, at: 0 }))
    }

    /// Whether one selector allows the call and, besides, the reading of every key: for calls that read keys whose names
    /// nobody knows beforehand.
    pub fn may_read_every_key(&self, call: Call<'_>, keys: impl Iterator<Item = (usize, KeyFlags)> + Clone) -> bool {
        self.all_selectors().any(|one| one.reads_every_key() && one.check(call, keys.clone()).is_ok())
    }

    /// Whether the keys of a call must be known to check it.
    pub fn asks_for_keys(&self) -> bool {
        self.all_selectors().any(|selector| matches!(selector.keys, Patterns::Some(_)))
    }

    /// Whether a subscription may go on: to a channel, or with `as_pattern` to all that match.
    pub fn allows_subscription(&self, channel: &[u8], as_pattern: bool) -> bool {
        self.all_selectors().any(|selector| selector.allows_channel(channel, as_pattern))
    }
}

impl Selector {
    #[inline]
    fn check(&self, call: Call<'_>, mut keys: impl Iterator<Item = (usize, KeyFlags)>) -> Result<(), Denied> {
        if let Databases::Some(list) = &self.databases {
            check_databases(list, call)?;
        }
        let allowed = self.allows_command(call.id)
            || call.spec.flags.contains(Flags::NO_AUTH)
            || self.allows_first_arg(call.id, call.argv.get(1));
        if !allowed {
            return Err(Denied { reason: Reason::Command, at: 0 });
        }
        if let Patterns::Some(patterns) = &self.keys
            && let Some((at, _)) = keys.find(|&(at, flags)| !allows_key(patterns, call.argv.at(at), flags))
        {
            return Err(Denied { reason: Reason::Key, at });
        }
        if let Patterns::Some(_) = &self.channels {
            self.check_channels(call)?;
        }
        Ok(())
    }

    fn check_channels(&self, call: Call<'_>) -> Result<(), Denied> {
        let (mut places, as_pattern) = match call.spec.channels {
            ChannelArgs::None => return Ok(()),
            ChannelArgs::First => (1..2, false),
            ChannelArgs::All => (1..call.argv.len(), false),
            ChannelArgs::AllPatterns => (1..call.argv.len(), true),
        };
        match places.find(|&at| !self.allows_channel(call.argv.at(at), as_pattern)) {
            Some(at) => Err(Denied { reason: Reason::Channel, at }),
            None => Ok(()),
        }
    }
}

#[inline]
fn allows_key(patterns: &[KeyPattern], key: &[u8], flags: KeyFlags) -> bool {
    let needed = Access::needed(flags);
    patterns.iter().any(|one| one.access.contains(needed) && one.pattern.glob.matches(key))
}

/// A database that an argument names, and the one that the command works on if it touches data at all. What is no database
/// is left to the command.
fn check_databases(allowed: &[u32], call: Call<'_>) -> Result<(), Denied> {
    let allows = |index: usize| u32::try_from(index).is_ok_and(|index| allowed.binary_search(&index).is_ok());
    let denied = |at: usize| Err(Denied { reason: Reason::Database, at });
    let named_and_refused = |at: usize| {
        let index = crate::command::args::int(call.argv.at(at)).ok().and_then(|index| usize::try_from(index).ok());
        index.is_some_and(|index| index < call.databases && !allows(index))
    };
    match call.spec.databases {
        DatabaseArgs::Current => {}
        DatabaseArgs::At(places) => {
            if let Some(at) = places.iter().map(|&at| usize::from(at)).find(|&at| named_and_refused(at)) {
                return denied(at);
            }
            if !call.spec.has_keys() {
                return Ok(());
            }
        }
        DatabaseArgs::Behind(word) => {
            let named = (4..call.argv.len()).filter(|&at| is(call.argv.at(at - 1), word));
            if let Some(at) = named.into_iter().find(|&at| named_and_refused(at)) {
                return denied(at);
            }
        }
        DatabaseArgs::Every => {
            return if (0..call.databases).all(allows) { Ok(()) } else { denied(0) };
        }
    }
    let touches_data = call.spec.has_keys() || call.spec.acl.intersects(Acl::KEYSPACE | Acl::READ | Acl::WRITE);
    if touches_data && !allows(call.db) { denied(0) } else { Ok(()) }
}
