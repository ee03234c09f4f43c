//! Connections that shake hands: TLS, from the moment they are accepted until they are clients.
//!
//! Nobody is a client before both sides have agreed on keys: these connections are in a table of their own, and take no
//! room among `maxclients`. There is room for [`HANDSHAKES_MAX`], less when clients are nearly as many as may be. When it
//! is full, the one that has been there longest gives way, since who means it is done after one or two round trips. Whoever
//! takes longer than [`HANDSHAKE_MS_MAX`] has to go as well.
//!
//! A handshake is arithmetic on the executor's thread: about 0.2 ms with an elliptic-curve key, 0.7 ms with
//! RSA 2048. So they are done behind the commands of a turn, and after [`HANDSHAKES_US`] the rest waits for the next:
//! a flood of them slows clients down, but does not stop them.

use super::connection::Stream;
use super::tls::{Progress, TlsStream};
use super::{EventLoop, HANDSHAKE_TOKENS};
use crate::config::TlsAuthClientsUser;
use crate::server::client::Accepted;
use mio::{Interest, Token};
use std::collections::VecDeque;

/// Connections that may shake hands at once.
const HANDSHAKES_MAX: usize = 1024;
/// So many may even if there are as many clients as may be.
const HANDSHAKES_LEAST: usize = 8;
/// How long, in ms, a handshake may take.
const HANDSHAKE_MS_MAX: i64 = 10_000;
/// After so many microseconds of handshakes the rest waits for the next turn.
const HANDSHAKES_US: u64 = 500;
/// Handshakes that failed and are logged, in one second.
const LOGGED_A_SECOND: u32 = 10;

/// All connections that shake hands.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    places: Vec<Option<Box<Shaking>>>,
    free: Vec<usize>,
    /// Place and number of each, in the order in which they came; some have gone.
    by_age: VecDeque<(usize, u64)>,
    /// Those that something has happened to.
    ready: VecDeque<(usize, u64)>,
    last_number: u64,
    /// The second in which failures were last logged, and how many were since it began.
    logged: (i64, u32),
}

#[derive(Debug)]
struct Shaking {
    tls: TlsStream,
    accepted: Accepted,
    since_ms: i64,
    number: u64,
    ready: bool,
}

impl Handshakes {
    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is one to go on with.
    pub(super) fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn get(&mut self, (place, number): (usize, u64)) -> Option<&mut Shaking> {
        self.places.get_mut(place)?.as_deref_mut().filter(|shaking| shaking.number == number)
    }

    fn add(&mut self, tls: TlsStream, accepted: Accepted, since_ms: i64) -> usize {
        self.last_number += 1;
        let number = self.last_number;
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(Box::new(Shaking { tls, accepted, since_ms, number, ready: false }));
        self.by_age.push_back((place, number));
        place
    }

    fn remove(&mut self, named: (usize, u64)) -> Option<Box<Shaking>> {
        self.get(named)?;
        self.free.push(named.0);
        self.places[named.0].take()
    }

    /// The one that has been there longest.
    fn oldest(&mut self) -> Option<(usize, u64)> {
        while let Some(&named) = self.by_age.front() {
            if self.get(named).is_some() {
                return Some(named);
            }
            self.by_age.pop_front();
        }
        None
    }

    /// Something has happened to one.
    pub(super) fn note(&mut self, place: usize) {
        if let Some(shaking) = self.places.get_mut(place).and_then(Option::as_deref_mut)
            && !shaking.ready
        {
            shaking.ready = true;
            self.ready.push_back((place, shaking.number));
        }
    }
}

impl EventLoop {
    /// A connection to the TLS port.
    pub(super) fn welcome_to_handshake(&mut self, stream: Stream, accepted: Accepted) {
        let Stream::Tcp(mut socket) = stream else { return };
        // Without an acceptor the port is not open; it may be about to be closed.
        let Some(acceptor) = self.server.tls.clone() else { return };
        let session = match acceptor.session() {
            Ok(session) => session,
            Err(error) => {
                tracing::warn!("could not begin a TLS connection: {error}");
                return;
            }
        };
        // Descriptors are there for `maxclients` and a few more.
        let clients_max = self.server.config.maxclients as usize;
        let room = clients_max.saturating_sub(self.server.clients.len()).clamp(HANDSHAKES_LEAST, HANDSHAKES_MAX);
        while self.handshakes.len() >= room
            && let Some(oldest) = self.handshakes.oldest()
        {
            self.end_handshake(oldest, &"others wait for its place");
        }
        let token = |place| Token(HANDSHAKE_TOKENS + place);
        let place = self.handshakes.free.last().copied().unwrap_or(self.handshakes.places.len());
        if let Err(error) =
            self.poll.registry().register(&mut socket, token(place), Interest::READABLE | Interest::WRITABLE)
        {
            tracing::warn!("could not watch a client connection: {error}");
            return;
        }
        let now_ms = self.server.store.now_ms();
        let added = self.handshakes.add(TlsStream::new(socket, session), accepted, now_ms);
        debug_assert_eq!(place, added);
    }

    /// Goes on with handshakes, one at least if there is one to go on with, and ends those that take too long.
    pub(super) fn shake_hands(&mut self) {
        let began_us = self.server.turn_us();
        while let Some(named) = self.handshakes.ready.pop_front() {
            let Some(shaking) = self.handshakes.get(named) else { continue };
            shaking.ready = false;
            match shaking.tls.shake_hands() {
                Progress::Waits => {}
                Progress::Failed(error) => self.end_handshake(named, &error),
                Progress::Done => self.welcome_from_handshake(named),
            }
            if self.server.turn_us() - began_us >= HANDSHAKES_US {
                break;
            }
        }
        let now_ms = self.server.store.now_ms();
        while let Some(oldest) = self.handshakes.oldest() {
            let since_ms = self.handshakes.get(oldest).map_or(now_ms, |shaking| shaking.since_ms);
            if now_ms.abs_diff(since_ms) < HANDSHAKE_MS_MAX.unsigned_abs() {
                break;
            }
            self.end_handshake(oldest, &"the handshake takes too long");
        }
    }

    /// A connection could not be accepted for want of something, which a handshake may have. Returns whether one gave way.
    pub(super) fn give_up_a_handshake(&mut self, error: &std::io::Error) -> bool {
        let oldest = self.handshakes.oldest();
        if let Some(oldest) = oldest {
            self.end_handshake(oldest, error);
        }
        oldest.is_some()
    }

    /// Both sides have agreed: it becomes a client.
    fn welcome_from_handshake(&mut self, named: (usize, u64)) {
        let Some(shaking) = self.handshakes.remove(named) else { return };
        let Shaking { mut tls, accepted, .. } = *shaking;
        let _ = self.poll.registry().deregister(tls.socket());
        let by_certificate = self.server.config.tls_auth_clients_user != TlsAuthClientsUser::Off;
        let names = if by_certificate { tls.peer_names() } else { None };
        // What came with the end of the handshake is not told of again.
        let Some(named) = self.welcome(Stream::Tls(Box::new(tls)), accepted) else { return };
        if let Some(names) = names {
            self.server.log_in_by_certificate(named.0, &names);
        }
        if let Some(connection) = self.connection(named) {
            connection.readable = true;
            self.enqueue(named);
        }
    }

    /// Gives one up.
    fn end_handshake(&mut self, named: (usize, u64), why: &dyn std::fmt::Display) {
        let Some(mut shaking) = self.handshakes.remove(named) else { return };
        let _ = self.poll.registry().deregister(shaking.tls.socket());
        let now_s = self.server.store.now_ms() / 1000;
        let (second, logged) = &mut self.handshakes.logged;
        if *second != now_s {
            (*second, *logged) = (now_s, 0);
        }
        *logged += 1;
        if *logged <= LOGGED_A_SECOND {
            let Accepted { addr, laddr, .. } = &shaking.accepted;
            tracing::warn!("Error accepting a client connection: {why} (addr={addr} laddr={laddr})");
        }
    }
}
