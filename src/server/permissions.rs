//! Who a client is and what it may do: the server's side of `acl`.
//!
//! A client has the id of its user, and [`Armed::ACL`] if that user may not do everything: whoever may, which by default is
//! everybody, costs nothing here. Whatever changes users calls [`Server::users_changed`] before the next command runs, and
//! ends the clients of those that are gone.

use super::Server;
use super::client::{Client, ClientFlags, ClientId, Slot};
use super::gates::Armed;
use super::keys::{find_keys, name_of_span, names_of};
use super::scripting::Caller;
use super::table::{Command, catalog};
use crate::acl::{self, Access, Call, Context, Denied, Event, Reason, User, UserId, Users};
use crate::command::error::Error;
use crate::command::spec::{Flags, Group};
use crate::config::{AclPubsubDefault, Config};
use crate::pubsub::Kind;
use crate::store::ValueRef;
use weir_resp::Argv;

/// Files and lines that both say which users there are.
const FILE_AND_LINES: &str = "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid. This setup is \
     very likely to lead to configuration errors and security holes, please define either an ACL file or declare users \
     directly in your redis.conf, but not both.";

/// The users that a configuration asks for: of its `aclfile`, or of its `user` lines.
///
/// # Errors
/// What is wrong with them, for a person.
pub fn users_of(config: &Config) -> Result<Users, String> {
    let mut users = initial_users(config);
    match &config.aclfile {
        Some(_) if !config.users.is_empty() => return Err(FILE_AND_LINES.to_owned()),
        Some(file) => {
            let read = acl::read_file(&config.path_in_dir(file), file, catalog(), all_channels(config));
            let read = read.map_err(|error| format!("Aborting Weir startup because of ACL errors: {error}"))?;
            users.replace(read);
        }
        None => users
            .declare(config.users.iter().map(|user| (user.name.as_slice(), user.rules.clone())))
            .map_err(|error| format!("{error}\nCritical error while loading ACLs. Exiting."))?,
    }
    Ok(users)
}

/// The default user with its password from the configuration.
pub(super) fn initial_users(config: &Config) -> Users {
    let mut users = Users::new(catalog(), all_channels(config));
    if config.requirepass.is_some() {
        users.set_default_password(config.requirepass.as_deref());
    }
    users
}

/// What `acl-pubsub-default` says.
pub(super) fn all_channels(config: &Config) -> bool {
    config.acl_pubsub_default == AclPubsubDefault::AllChannels
}

/// Why a call was refused, as its client is told, without the code in front.
pub(super) fn refusal_text(user: &User, command: &Command, denied: &Denied) -> String {
    match denied.reason {
        Reason::Command | Reason::Auth | Reason::Certificate => {
            let name = String::from_utf8_lossy(user.name());
            format!("User {name} has no permissions to run the '{}' command", command.full_name)
        }
        Reason::Key => "No permissions to access a key".to_owned(),
        Reason::Channel => "No permissions to access a channel".to_owned(),
        Reason::Database => "No permissions to access database".to_owned(),
    }
}

impl Server {
    /// Takes over the users that the configuration declares, or those of its file.
    ///
    /// # Errors
    /// What is wrong with them; the users are then as they were.
    pub fn load_users(&mut self) -> Result<(), String> {
        self.users = users_of(&self.config)?;
        self.users_changed();
        Ok(())
    }

    /// The user of a client; the default user before it has logged in.
    #[inline]
    pub(super) fn user_of(&self, slot: Slot) -> UserId {
        self.clients.get(slot).and_then(|client| client.user).unwrap_or(UserId::DEFAULT)
    }

    /// Makes a client somebody; with `None`, nobody, who may log in and nothing else.
    pub(super) fn log_in(&mut self, slot: Slot, user: Option<UserId>) {
        let restricted = user.is_some_and(|id| !self.users.get(id).is_unrestricted());
        if let Some(client) = self.clients.get_mut(slot) {
            client.user = user;
            client.armed.set(Armed::AUTH, user.is_none());
            client.armed.set(Armed::ACL, restricted);
        }
    }

    /// Who a connection is when it is made, and again after RESET.
    pub(super) fn user_of_strangers(&self) -> Option<UserId> {
        self.users.is_open().then_some(UserId::DEFAULT)
    }

    /// Users, or their rules, are others than before.
    pub(super) fn users_changed(&mut self) {
        let strangers = self.user_of_strangers();
        for client in self.clients.iter_mut() {
            client.user = client.user.or(strangers);
            client.armed.set(Armed::AUTH, client.user.is_none());
            client.armed.set(Armed::ACL, client.user.is_some_and(|id| !self.users.get(id).is_unrestricted()));
        }
    }

    /// Ends the clients of users that are gone. The one whose command did that, at `caller`, still gets its reply.
    pub(super) fn end_clients_of(&mut self, gone: &[UserId], caller: Slot) {
        if gone.is_empty() {
            return;
        }
        let of_gone = |user: Option<UserId>| user.is_some_and(|id| gone.contains(&id));
        let found: Vec<Slot> =
            self.clients.iter().filter(|client| of_gone(client.user)).map(|client| client.slot).collect();
        self.expel(&found, caller);
    }

    /// Ends the clients that subscribe to channels, or observe paths, which their user may not use any more. The one whose command did that, at `caller`,
    /// still gets its reply.
    pub(super) fn end_forbidden_subscribers(&mut self, caller: Slot) {
        self.end_forbidden_observers(caller);
        if self.pubsub.is_empty() {
            return;
        }
        let forbidden = |client: &&Client| {
            let user = self.users.get(client.user.unwrap_or(UserId::DEFAULT));
            client.flags.contains(ClientFlags::SUBSCRIBER)
                && [Kind::Channel, Kind::Pattern, Kind::Shard].into_iter().any(|kind| {
                    let mut names = self.subscribed_names(client.slot, kind);
                    names.any(|name| !user.allows_subscription(name, kind == Kind::Pattern))
                })
        };
        let found: Vec<Slot> = self.clients.iter().filter(forbidden).map(|client| client.slot).collect();
        self.expel(&found, caller);
    }

    /// The same of clients that observe paths which their user may not read any more.
    fn end_forbidden_observers(&mut self, caller: Slot) {
        if self.registry.observers.is_empty() {
            return;
        }
        let restricted = |client: u64| {
            let client = self.clients.get(self.clients.slot_of(ClientId(client))?)?;
            client.armed.contains(Armed::ACL).then_some(client)
        };
        let mut found: Vec<Slot> = Vec::new();
        for (client, _, store, span) in self.registry.observers.observed() {
            let Some(client) = restricted(client).filter(|client| found.last() != Some(&client.slot)) else { continue };
            let user = self.users.get(client.user.unwrap_or(UserId::DEFAULT));
            if !user.allows_path(&name_of_span(store, span, Access::READ)) {
                found.push(client.slot);
            }
        }
        found.sort_unstable();
        found.dedup();
        self.expel(&found, caller);
    }

    fn expel(&mut self, clients: &[Slot], caller: Slot) {
        for &slot in clients {
            self.log_in(slot, None);
            self.kill_client(slot, caller);
        }
    }

    /// Whether a user may make a call on a database. Also tells the command whether it may read keys that its arguments
    /// only describe; so it must be called before every run of a command, nested ones too.
    ///
    /// # Errors
    /// Why not. The caller writes it down ([`Server::note_denied`]).
    pub(super) fn acl_check(
        &mut self,
        user: UserId,
        command: &'static Command,
        argv: Argv<'_>,
        db: usize,
    ) -> Result<(), Denied> {
        let describes_keys = command.flags().contains(Flags::FOREIGN_KEYS);
        if self.is_loading() {
            // Scripts of the file that is read: somebody was allowed to run them.
            return Ok(());
        }
        if describes_keys {
            self.effects.reads_every_key = true;
        }
        let user = self.users.get(user);
        if user.is_unrestricted() {
            return Ok(());
        }
        let call = Call { spec: command.spec, id: command.id, argv, db, databases: self.store.databases() };
        // Most commands have one key at a place of its own: nothing need be looked for.
        if let Some(key) = command.only_key.filter(|&(at, _)| at < argv.len()) {
            return user.check(call, std::iter::once(key));
        }
        if command.spec.group == Group::Registry && user.asks_for_keys() {
            let names = names_of(command, argv, &|store| match self.store.view(db, self.store.key(store))?.value() {
                ValueRef::Tree(tree) => Some(tree),
                _ => None,
            });
            return user.check(call, names.iter().copied());
        }
        self.found_keys.clear();
        if command.has_keys() && user.asks_for_keys() {
            // Where the arguments do not have the form of the command, it is the command that says so.
            let _ = find_keys(command.spec, argv, &mut self.found_keys);
        }
        let keys = self.found_keys.iter().map(|key| (key.at, key.flags));
        user.check(call, keys.clone())?;
        if describes_keys {
            self.effects.reads_every_key = user.may_read_every_key(call, keys);
        }
        Ok(())
    }

    /// What a client could not do is counted and goes into the log. `running`: the command that it has called (EXEC or EVAL
    /// where `command` is inside of one) and the bytes of its arguments.
    #[cold]
    pub(super) fn note_denied(
        &mut self,
        slot: Slot,
        running: Option<(&'static Command, usize)>,
        context: Context,
        command: &'static Command,
        argv: Argv<'_>,
        denied: &Denied,
    ) {
        let object = match denied.reason {
            Reason::Command => command.full_name.as_bytes(),
            _ => denied.object(argv),
        };
        let username = self.users.get(self.user_of(slot)).name().to_vec();
        self.note_refusal(slot, running, denied.reason, context, object, &username);
    }

    /// The same for somebody who could not prove to be `username`.
    #[cold]
    pub(super) fn note_failed_login(&mut self, slot: Slot, command: &'static Command, argv: Argv<'_>, username: &[u8]) {
        let context = self.context_of(slot);
        let running = Some((command, argv.payload_bytes()));
        self.note_refusal(slot, running, Reason::Auth, context, argv.name(), username);
    }

    /// The same for somebody whose certificate names `username`, and there is no such user.
    #[cold]
    pub(super) fn note_unknown_certificate(&mut self, slot: Slot, username: &[u8]) {
        self.note_refusal(slot, None, Reason::Certificate, Context::TopLevel, b"", username);
    }

    fn note_refusal(
        &mut self,
        slot: Slot,
        running: Option<(&'static Command, usize)>,
        reason: Reason,
        context: Context,
        object: &[u8],
        username: &[u8],
    ) {
        let counters = &mut self.stats.counters;
        *match reason {
            Reason::Command => &mut counters.acl_access_denied_cmd,
            Reason::Database => &mut counters.acl_access_denied_db,
            Reason::Key => &mut counters.acl_access_denied_key,
            Reason::Auth => &mut counters.acl_access_denied_auth,
            Reason::Channel => &mut counters.acl_access_denied_channel,
            Reason::Certificate => &mut counters.acl_access_denied_tls_cert,
        } += 1;
        let client = self.describe_client(slot, running);
        let event = Event { reason, context, object, username, client };
        self.acl_log.record(event, self.store.now_ms());
    }

    /// Where a command of a client comes from that is not called by a script.
    pub(super) fn context_of(&self, slot: Slot) -> Context {
        let in_transaction = self.clients.get(slot).is_some_and(|client| client.in_transaction());
        if in_transaction { Context::Multi } else { Context::TopLevel }
    }

    /// A client's call, before it is run: for the first time, or again because it waited. A refusal is written down.
    ///
    /// # Errors
    /// The reply in its place.
    pub(super) fn check_call(
        &mut self,
        slot: Slot,
        command: &'static Command,
        argv: Argv<'_>,
        db: usize,
    ) -> Result<(), Error> {
        let user = self.user_of(slot);
        let Err(denied) = self.acl_check(user, command, argv, db) else { return Ok(()) };
        let error = Error::no_permission(&refusal_text(self.users.get(user), command, &denied));
        self.note_denied(slot, Some((command, argv.payload_bytes())), self.context_of(slot), command, argv, &denied);
        Err(error)
    }

    /// A command that EXEC is about to run, which was allowed when it was queued.
    ///
    /// # Errors
    /// The reply in its place.
    pub(super) fn check_queued(
        &mut self,
        exec: Caller<'_>,
        command: &'static Command,
        argv: Argv<'_>,
    ) -> Result<(), Error> {
        let slot = exec.slot;
        let (user, db) = (self.user_of(slot), self.clients.get(slot).map_or(0, |client| client.db));
        let Err(denied) = self.acl_check(user, command, argv, db) else { return Ok(()) };
        let running = Some((exec.command, exec.argv.payload_bytes()));
        self.note_denied(slot, running, Context::Multi, command, argv, &denied);
        let error = Error::rules_changed(match denied.reason {
            Reason::Command => "no permission to execute the command or subcommand",
            Reason::Key => "no permission to touch the specified keys",
            Reason::Channel => "no permission to access one of the channels used as arguments",
            Reason::Database | Reason::Auth | Reason::Certificate => "no permission",
        });
        self.stats.command_rejected(Some(command.id), &error);
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use crate::command::spec::{BeginSearch, KeyFlags};
    use crate::server::keys::find_keys;
    use crate::server::table::{Command, commands};
    use weir_resp::Batch;

    fn all(commands: &'static [Command]) -> Vec<&'static Command> {
        commands.iter().flat_map(|command| [command].into_iter().chain(all(&command.subs))).collect()
    }

    /// A permission on keys would mean nothing where the keys of a call cannot be told.
    #[test]
    fn keys_of_every_command_can_be_told() {
        for command in all(commands()).into_iter().filter(|command| command.has_keys()) {
            let vague = command.spec.keys.iter().any(|key| {
                key.flags.intersects(KeyFlags::INCOMPLETE | KeyFlags::VARIABLE_FLAGS)
                    || key.begin == BeginSearch::Unknown
            });
            if !vague {
                continue;
            }
            let words = || command.full_name.split('|').map(str::as_bytes);
            let keyword = command.spec.keys.iter().find_map(|key| match key.begin {
                BeginSearch::Keyword(word, _) => Some(word.as_bytes()),
                _ => None,
            });
            // Keys behind a word may stand behind other things as well.
            let told = (0..4).any(|before| {
                let mut batch = Batch::new();
                let ones = |count| std::iter::repeat_n(&b"1"[..], count);
                batch.push_command(words().chain(ones(before)).chain(keyword).chain(ones(9))).unwrap();
                let mut found = Vec::new();
                find_keys(command.spec, batch.command(0), &mut found).is_ok() && !found.is_empty()
            });
            assert!(told, "the keys of {} need a resolver", command.full_name);
        }
    }

    /// Permissions on keys are asked for by either way.
    #[test]
    fn the_only_key_of_a_command_is_the_one_that_its_key_specs_tell() {
        let commands: Vec<_> = all(commands()).into_iter().filter(|command| command.only_key.is_some()).collect();
        assert!(commands.len() > 80, "{}", commands.len());
        for command in commands {
            for argc in 1..8 {
                let mut batch = Batch::new();
                batch.push_command([&b"x"[..]; 8].into_iter().take(argc)).unwrap();
                let mut found = Vec::new();
                let _ = find_keys(command.spec, batch.command(0), &mut found);
                let only = command.only_key.filter(|&(at, _)| at < argc);
                let told: Vec<_> = found.iter().map(|key| (key.at, key.flags)).collect();
                assert_eq!(told, Vec::from_iter(only), "{} of {argc} arguments", command.full_name);
            }
        }
    }

    #[test]
    fn what_is_done_with_keys_says_what_permission_it_needs() {
        let kinds = KeyFlags::RO | KeyFlags::RW | KeyFlags::OW | KeyFlags::RM;
        let needs = KeyFlags::ACCESS | KeyFlags::INSERT | KeyFlags::DELETE | KeyFlags::UPDATE;
        for command in all(commands()) {
            for key in command.spec.keys.iter().filter(|key| !key.flags.contains(KeyFlags::NOT_KEY)) {
                assert_eq!((key.flags & kinds).bits().count_ones(), 1, "{}", command.full_name);
                let changes = key.flags.intersects(KeyFlags::RW | KeyFlags::OW | KeyFlags::RM);
                assert!(
                    !changes || key.flags.intersects(needs),
                    "{} changes a key without saying how",
                    command.full_name
                );
            }
        }
    }
}
