//! Which clients CLIENT LIST and CLIENT KILL mean.

use crate::acl::UserId;
use crate::command::args::{Words, int, is};
use crate::command::error::Error;
use crate::server::Server;
use crate::server::client::{Client, ClientId, Slot};

/// Kind of a client, as `TYPE` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Normal,
    Primary,
    Replica,
    PubSub,
}

impl Kind {
    fn parse(word: &[u8]) -> Result<Kind, Error> {
        match word {
            w if is(w, "normal") => Ok(Kind::Normal),
            w if is(w, "master") || is(w, "primary") => Ok(Kind::Primary),
            w if is(w, "slave") || is(w, "replica") => Ok(Kind::Replica),
            w if is(w, "pubsub") => Ok(Kind::PubSub),
            w => Err(Error::new(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(w)))),
        }
    }
}

/// Letters that may stand in FLAGS.
const FLAGS: &[u8] = b"bcdeirtuxABEIMNOPRSTU";

/// One condition.
enum Test<'a> {
    Id(Vec<ClientId>),
    Addr(&'a [u8]),
    Laddr(&'a [u8]),
    Ip(&'a [u8]),
    Kind(Kind),
    User(UserId),
    Name(&'a [u8]),
    LibName(&'a [u8]),
    LibVer(&'a [u8]),
    Db(usize),
    Flags(&'a [u8]),
    Capa(&'a [u8]),
    MaxAge(i64),
    Idle(i64),
}

/// All conditions of a call; a client must fit each.
pub(super) struct Filter<'a> {
    /// Each with its option's place (the last of a kind wins) and whether it is negated.
    tests: Vec<(&'static str, bool, Test<'a>)>,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    /// Reads options up to the end, for CLIENT KILL (which leaves the caller out unless told otherwise) or CLIENT LIST.
    pub(super) fn parse(mut words: Words<'a>, server: &Server, kill: bool) -> Result<Filter<'a>, Error> {
        let mut filter = Filter { tests: Vec::new(), skip_me: kill };
        while let Some(word) = words.next() {
            if words.left() == 0 {
                return Err(Error::SYNTAX);
            }
            if is(word, "SKIPME") {
                filter.skip_me = match words.expect()? {
                    w if is(w, "yes") => true,
                    w if is(w, "no") => false,
                    _ => return Err(Error::SYNTAX),
                };
                continue;
            }
            let upper = word.to_ascii_uppercase();
            let (negated, option) = match upper.strip_prefix(b"NOT-") {
                Some(option) => (true, option),
                None => (false, &*upper),
            };
            let (name, test) = Self::option(option, negated, &mut words, server, kill)?;
            let known = filter.tests.iter().position(|(n, not, _)| *n == name && *not == negated);
            match (known, test) {
                (None, test) => filter.tests.push((name, negated, test)),
                (Some(at), Test::Id(more)) => {
                    if let Test::Id(ids) = &mut filter.tests[at].2 {
                        ids.extend(more);
                    }
                }
                (Some(at), test) => filter.tests[at].2 = test,
            }
        }
        Ok(filter)
    }

    fn option(
        option: &[u8],
        negated: bool,
        words: &mut Words<'a>,
        server: &Server,
        kill: bool,
    ) -> Result<(&'static str, Test<'a>), Error> {
        let not = if negated { "NOT-" } else { "" };
        Ok(match option {
            b"ID" => ("ID", Test::Id(ids(words, kill)?)),
            b"ADDR" => ("ADDR", Test::Addr(words.expect()?)),
            b"LADDR" => ("LADDR", Test::Laddr(words.expect()?)),
            b"IP" => ("IP", Test::Ip(words.expect()?)),
            b"TYPE" => ("TYPE", Test::Kind(Kind::parse(words.expect()?)?)),
            b"NAME" => ("NAME", Test::Name(words.expect()?)),
            b"LIB-NAME" => ("LIB-NAME", Test::LibName(words.expect()?)),
            b"LIB-VER" => ("LIB-VER", Test::LibVer(words.expect()?)),
            b"USER" => {
                let user = words.expect()?;
                ("USER", Test::User(server.users.find(user).ok_or_else(|| Error::no_such_user(user))?))
            }
            b"DB" => {
                let databases = server.store.databases();
                let index = int(words.expect()?)
                    .map_err(|_| Error::new(format!("ERR {not}DB is not an integer or out of range")))?;
                let index = usize::try_from(index).ok().filter(|&i| i < databases).ok_or_else(|| {
                    Error::new(format!("ERR {not}DB number should be between 0 and {}", databases - 1))
                })?;
                ("DB", Test::Db(index))
            }
            b"FLAGS" => {
                let letters = words.expect()?;
                known_letters(letters, FLAGS, "flags", negated)?;
                ("FLAGS", Test::Flags(letters))
            }
            b"CAPA" => {
                let letters = words.expect()?;
                known_letters(letters, b"r", "capa", negated)?;
                ("CAPA", Test::Capa(letters))
            }
            b"MAXAGE" if !negated => ("MAXAGE", Test::MaxAge(seconds(words, "maxage")?)),
            b"IDLE" if !negated => ("IDLE", Test::Idle(seconds(words, "idle")?)),
            _ => return Err(Error::SYNTAX),
        })
    }

    /// Whether a client is meant. `me`: who asks.
    pub(super) fn fits(&self, server: &Server, client: &Client, me: Slot) -> bool {
        if self.skip_me && client.slot == me {
            return false;
        }
        self.tests.iter().all(|(_, negated, test)| test.fits(server, client) != *negated)
    }
}

/// One or more ids; the first word that is no number ends them. Where there is none, KILL and LIST say so differently.
fn ids(words: &mut Words<'_>, kill: bool) -> Result<Vec<ClientId>, Error> {
    const NOT_POSITIVE: Error = Error::fixed("ERR client-id should be greater than 0");
    let mut ids = Vec::new();
    while let Some(id) = words.peek().and_then(|word| int(word).ok()) {
        words.next();
        let id = u64::try_from(id).ok().filter(|&id| id > 0);
        ids.push(ClientId(id.ok_or(NOT_POSITIVE)?));
    }
    match ids.is_empty() {
        true if kill => Err(NOT_POSITIVE),
        true => Err(Error::SYNTAX),
        false => Ok(ids),
    }
}

fn seconds(words: &mut Words<'_>, what: &str) -> Result<i64, Error> {
    let seconds =
        int(words.expect()?).map_err(|_| Error::new(format!("ERR {what} is not an integer or out of range")))?;
    if seconds <= 0 {
        return Err(Error::new(format!("ERR {what} should be greater than 0")));
    }
    Ok(seconds)
}

fn known_letters(letters: &[u8], known: &[u8], what: &str, negated: bool) -> Result<(), Error> {
    if letters.iter().all(|letter| known.contains(letter)) {
        return Ok(());
    }
    let place =
        if negated { format!("the NOT-{} filter", what.to_ascii_uppercase()) } else { "the provided filter".into() };
    let letters = String::from_utf8_lossy(letters);
    Err(Error::new(format!("ERR Unknown {what} found in {place}: {letters}")))
}

impl Test<'_> {
    fn fits(&self, server: &Server, client: &Client) -> bool {
        let now_ms = server.store.now_ms();
        match self {
            Test::Id(ids) => ids.contains(&client.id),
            Test::Addr(addr) => client.addr.as_bytes() == *addr,
            Test::Laddr(addr) => client.laddr.as_bytes() == *addr,
            Test::Ip(ip) => client.ip().as_bytes() == *ip,
            Test::Kind(kind) => client.kind() == *kind,
            Test::User(user) => server.user_of(client.slot) == *user,
            Test::Name(name) => !client.name.is_empty() && client.name == *name,
            Test::LibName(name) => !client.lib_name.is_empty() && client.lib_name == *name,
            Test::LibVer(version) => !client.lib_ver.is_empty() && client.lib_ver == *version,
            Test::Db(index) => client.db == *index,
            Test::Flags(letters) => {
                let own = server.flag_letters(client);
                letters.iter().all(|letter| own.as_bytes().contains(letter))
            }
            Test::Capa(letters) => {
                letters.is_empty() || client.flags.contains(crate::server::client::ClientFlags::CAPA_REDIRECT)
            }
            Test::MaxAge(seconds) => (now_ms - client.created_ms) / 1000 >= *seconds,
            Test::Idle(seconds) => (now_ms - client.active_ms) / 1000 >= *seconds,
        }
    }
}
