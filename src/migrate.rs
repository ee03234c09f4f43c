//! Sending keys to another server: connections to it, which are kept for a while, and what is said over them.
//!
//! ```text
//!   [AUTH ..] [SELECT ..] { RESTORE key ttl payload [REPLACE] } ...  ─►  target
//!                                       one reply for each           ◄─
//! ```
//!
//! Everything here waits for the other side, each time for no longer than the caller allows, so it runs on threads of its
//! own. What must stay true: a key counts as accepted only if its own reply said so.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use weir_resp::reply_bytes;

/// How long a connection that nobody uses is kept, in milliseconds.
const KEEP_MS: i64 = 10_000;
/// How many are kept.
const KEPT_MAX: usize = 64;
/// Longest reply that is taken; errors are lines.
const REPLY_BYTES_MAX: u64 = 64 * 1024;

/// Who logs in at the target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// The user, if it is not the default one.
    pub user: Option<Vec<u8>>,
    /// The password.
    pub password: Vec<u8>,
}

/// A key on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// Its name.
    pub name: Vec<u8>,
    /// Milliseconds to live; 0: it does not expire.
    pub ttl_ms: i64,
    /// The value as DUMP answers it.
    pub payload: Vec<u8>,
}

/// What is to be sent where.
#[derive(Clone, Debug)]
pub struct Request {
    /// The target's address.
    pub host: String,
    /// And its port.
    pub port: u16,
    /// The database there.
    pub db: i64,
    /// How long each step may take.
    pub timeout: Duration,
    /// Who logs in.
    pub login: Option<Login>,
    /// Keys that are there already are replaced.
    pub replace: bool,
    /// The keys.
    pub parcels: Vec<Parcel>,
    /// Unix time in milliseconds.
    pub now_ms: i64,
}

/// Why not everything was accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// There is no connection.
    Connect,
    /// Nothing could be sent.
    Write,
    /// No reply came.
    Read,
    /// The target answered this error.
    Target(Vec<u8>),
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// For each key whether the target has it.
    pub accepted: Vec<bool>,
    /// What went wrong first.
    pub failure: Option<Failure>,
}

#[derive(Debug)]
struct Link {
    stream: BufReader<TcpStream>,
    /// The database in use there.
    db: Option<i64>,
    used_ms: i64,
}

/// Connections that are kept.
#[derive(Debug, Default)]
pub struct Links {
    idle: Mutex<HashMap<(String, u16), Link>>,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, u16), Link>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Ends those that have not been used for a while.
    pub fn end_old(&self, now_ms: i64) {
        self.lock().retain(|_, link| (0..KEEP_MS).contains(&(now_ms - link.used_ms)));
    }

    fn take(&self, request: &Request) -> Option<Link> {
        self.lock().remove(&(request.host.clone(), request.port))
    }

    fn keep(&self, request: &Request, mut link: Link) {
        let mut idle = self.lock();
        if idle.len() >= KEPT_MAX
            && let Some(oldest) = idle.iter().min_by_key(|(_, link)| link.used_ms).map(|(place, _)| place.clone())
        {
            idle.remove(&oldest);
        }
        link.used_ms = request.now_ms;
        idle.insert((request.host.clone(), request.port), link);
    }

    /// Sends the keys and waits for what the target says of each.
    pub fn transfer(&self, request: &Request) -> Outcome {
        let mut outcome = Outcome { accepted: vec![false; request.parcels.len()], failure: None };
        // One that was kept may have been ended by the other side: then it is tried once with a new one.
        if let Some(mut link) = self.take(request) {
            match link.transfer(request, &mut outcome) {
                Ok(()) => {
                    self.keep(request, link);
                    return outcome;
                }
                Err(failed) if failed.timed_out || outcome.accepted.contains(&true) => {
                    outcome.failure.get_or_insert(failed.failure);
                    return outcome;
                }
                Err(_) => outcome.failure = None,
            }
        }
        match Link::open(request) {
            Err(failure) => outcome.failure = Some(failure),
            Ok(mut link) => match link.transfer(request, &mut outcome) {
                Ok(()) => self.keep(request, link),
                Err(failed) => outcome.failure = Some(failed.failure),
            },
        }
        outcome
    }
}

/// The connection is of no use any more.
struct Failed {
    failure: Failure,
    timed_out: bool,
}

impl Failed {
    fn writing(error: &io::Error) -> Failed {
        Failed { failure: Failure::Write, timed_out: is_timeout(error) }
    }

    fn reading(error: &io::Error) -> Failed {
        Failed { failure: Failure::Read, timed_out: is_timeout(error) }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Link {
    /// Connects to the target, at the first of its addresses where somebody is.
    fn open(request: &Request) -> Result<Link, Failure> {
        let addresses = (request.host.as_str(), request.port).to_socket_addrs().map_err(|_| Failure::Connect)?;
        let mut failure = Failure::Connect;
        for address in addresses {
            match TcpStream::connect_timeout(&address, request.timeout) {
                Ok(stream) => {
                    // It is only slower without.
                    let _ = stream.set_nodelay(true);
                    return Ok(Link { stream: BufReader::new(stream), db: None, used_ms: request.now_ms });
                }
                // Others notice only when they write that nobody listens, and say so.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => failure = Failure::Write,
                Err(_) => {}
            }
        }
        Err(failure)
    }

    /// Sends everything and reads all replies. What the target says goes into `outcome`.
    fn transfer(&mut self, request: &Request, outcome: &mut Outcome) -> Result<(), Failed> {
        let stream = self.stream.get_ref();
        stream.set_write_timeout(Some(request.timeout)).map_err(|error| Failed::writing(&error))?;
        stream.set_read_timeout(Some(request.timeout)).map_err(|error| Failed::reading(&error))?;
        let mut out = Vec::new();
        if let Some(Login { user, password }) = &request.login {
            match user {
                Some(user) => put_command(&mut out, &[b"AUTH", user, password]),
                None => put_command(&mut out, &[b"AUTH", password]),
            }
        }
        let selects = self.db != Some(request.db);
        if selects {
            put_command(&mut out, &[b"SELECT", request.db.to_string().as_bytes()]);
        }
        let mut writer = self.stream.get_ref();
        for parcel in &request.parcels {
            let ttl = parcel.ttl_ms.to_string();
            let words: [&[u8]; 5] = [b"RESTORE", &parcel.name, ttl.as_bytes(), &parcel.payload, b"REPLACE"];
            put_command(&mut out, if request.replace { &words } else { &words[..4] });
            writer.write_all(&out).map_err(|error| Failed::writing(&error))?;
            out.clear();
        }
        if request.login.is_some() {
            self.take_reply(outcome)?;
        }
        if selects {
            let is_there = self.take_reply(outcome)?;
            self.db = is_there.then_some(request.db);
        }
        // Nothing that went to another database than the one that was meant counts.
        let is_ready = outcome.failure.is_none();
        for at in 0..request.parcels.len() {
            let is_accepted = self.take_reply(outcome)? && is_ready;
            if let Some(accepted) = outcome.accepted.get_mut(at) {
                *accepted = is_accepted;
            }
        }
        Ok(())
    }

    /// Reads a reply. Says whether it is no error.
    fn take_reply(&mut self, outcome: &mut Outcome) -> Result<bool, Failed> {
        let mut line = Vec::new();
        let mut limited = self.stream.by_ref().take(REPLY_BYTES_MAX);
        limited.read_until(b'\n', &mut line).map_err(|error| Failed::reading(&error))?;
        if line.pop() != Some(b'\n') {
            return Err(Failed { failure: Failure::Read, timed_out: false });
        }
        line.truncate(line.trim_ascii_end().len());
        match line.split_first() {
            Some((b'+', _)) => Ok(true),
            Some((b'-', error)) => {
                outcome.failure.get_or_insert_with(|| Failure::Target(error.to_vec()));
                Ok(false)
            }
            // It is no server of this kind.
            _ => Err(Failed { failure: Failure::Read, timed_out: false }),
        }
    }
}

fn put_command(to: &mut Vec<u8>, words: &[&[u8]]) {
    reply_bytes::array_header(to, words.len());
    words.iter().for_each(|word| reply_bytes::bulk(to, word));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A target that gives these replies, one connection after the other, and what it has been sent.
    fn target(conversations: Vec<(usize, &'static str)>) -> (u16, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = thread::spawn(move || {
            let mut heard = Vec::new();
            for (bytes, replies) in conversations {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = vec![0; bytes];
                stream.read_exact(&mut buffer).unwrap();
                heard.push(String::from_utf8(buffer).unwrap().replace("\r\n", " "));
                stream.write_all(replies.as_bytes()).unwrap();
            }
            heard
        });
        (port, heard)
    }

    fn request(port: u16, names: &[&str]) -> Request {
        let parcel = |name: &&str| Parcel { name: name.as_bytes().to_vec(), ttl_ms: 0, payload: b"p".to_vec() };
        Request {
            host: "127.0.0.1".to_owned(),
            port,
            db: 3,
            timeout: Duration::from_secs(120),
            login: None,
            replace: false,
            parcels: names.iter().map(parcel).collect(),
            now_ms: 1_000,
        }
    }

    /// What a request for one key of one letter takes, with SELECT and without.
    const SELECTING: usize = 23 + 38;
    const SELECTED: usize = 38;

    #[test]
    fn only_keys_whose_own_reply_is_fine_are_accepted() {
        let (port, heard) = target(vec![(SELECTING + SELECTED, "+OK\r\n+OK\r\n-BUSYKEY there\r\n")]);
        let links = Links::default();
        let outcome = links.transfer(&request(port, &["a", "b"]));
        assert_eq!(outcome.accepted, [true, false]);
        assert_eq!(outcome.failure, Some(Failure::Target(b"BUSYKEY there".to_vec())));
        assert_eq!(links.len(), 1);
        links.end_old(1_000 + KEEP_MS);
        assert!(links.is_empty());
        let heard = heard.join().unwrap();
        assert!(heard[0].starts_with("*2 $6 SELECT $1 3 *4 $7 RESTORE $1 a $1 0 $1 p "), "{heard:?}");
    }

    #[test]
    fn nothing_is_accepted_where_the_database_is_not_there() {
        let (port, heard) = target(vec![(SELECTING, "-ERR DB index is out of range\r\n+OK\r\n")]);
        let outcome = Links::default().transfer(&request(port, &["a"]));
        assert_eq!(outcome.accepted, [false]);
        assert_eq!(outcome.failure, Some(Failure::Target(b"ERR DB index is out of range".to_vec())));
        heard.join().unwrap();
    }

    #[test]
    fn a_kept_connection_that_was_ended_is_replaced_once() {
        let (port, heard) =
            target(vec![(SELECTING, "+OK\r\n+OK\r\n"), (SELECTING, "+OK\r\n+OK\r\n"), (SELECTING, "+OK\r\n")]);
        let links = Links::default();
        for _ in 0..2 {
            let outcome = links.transfer(&request(port, &["a"]));
            assert_eq!((outcome.accepted, outcome.failure), (vec![true], None));
        }
        // The last one ends in the middle of its replies.
        let outcome = links.transfer(&request(port, &["a"]));
        assert_eq!((outcome.accepted, outcome.failure), (vec![false], Some(Failure::Read)));
        heard.join().unwrap();
        let outcome = links.transfer(&request(port, &["a"]));
        assert_eq!(outcome.failure, Some(Failure::Write), "nobody listens");
    }
}
