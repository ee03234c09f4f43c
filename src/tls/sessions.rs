//! Sessions that clients may resume: so many, for so long, in the order in which they came.

use hashbrown::HashMap;
use rustls::server::StoresServerSessions;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sessions kept where the configuration names no limit.
const SESSIONS_MAX: usize = 1 << 20;
/// Bytes of one session; more is a chain of certificates that is not worth keeping.
const SESSION_BYTES_MAX: usize = 8 * 1024;

/// The sessions of one set of certificates: with those they go.
pub(super) struct Sessions {
    kept: Mutex<Kept>,
    count_max: usize,
    lifetime_s: i64,
    wall_clock_us: fn() -> i64,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<Vec<u8>, Session>,
    /// Keys with the time at which each was put in; some may have gone or come again.
    order: VecDeque<(i64, Vec<u8>)>,
}

struct Session {
    put_s: i64,
    value: Vec<u8>,
}

impl Sessions {
    /// Room for `count_max` sessions (0: as many as there is ever need for), each for `lifetime_s` seconds (0: as long as
    /// there is room).
    pub(super) fn new(count_max: u32, lifetime_s: u32, wall_clock_us: fn() -> i64) -> Sessions {
        let count_max = if count_max == 0 { SESSIONS_MAX } else { SESSIONS_MAX.min(count_max as usize) };
        let lifetime_s = if lifetime_s == 0 { i64::MAX } else { lifetime_s.into() };
        Sessions { kept: Mutex::default(), count_max, lifetime_s, wall_clock_us }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_s(&self) -> i64 {
        (self.wall_clock_us)() / 1_000_000
    }

    /// Whether a session that was put in then is too old now, or from a future that a clock has come back from.
    fn is_over(&self, put_s: i64, now_s: i64) -> bool {
        now_s.abs_diff(put_s) >= self.lifetime_s.unsigned_abs()
    }
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("kept", &self.kept().by_key.len()).finish_non_exhaustive()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        if value.len() > SESSION_BYTES_MAX {
            return false;
        }
        let now_s = self.now_s();
        let kept = &mut *self.kept();
        while let Some((put_s, oldest)) = kept.order.front() {
            let stale = kept.by_key.get(oldest).is_none_or(|session| session.put_s != *put_s);
            if !stale && !self.is_over(*put_s, now_s) && kept.order.len() < self.count_max {
                break;
            }
            if !stale {
                kept.by_key.remove(oldest);
            }
            kept.order.pop_front();
        }
        kept.order.push_back((now_s, key.clone()));
        kept.by_key.insert(key, Session { put_s: now_s, value });
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let now_s = self.now_s();
        let kept = self.kept();
        kept.by_key.get(key).filter(|session| !self.is_over(session.put_s, now_s)).map(|session| session.value.clone())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let now_s = self.now_s();
        let session = self.kept().by_key.remove(key)?;
        (!self.is_over(session.put_s, now_s)).then_some(session.value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static NOW_S: Cell<i64> = const { Cell::new(1000) };
    }

    fn put(sessions: &Sessions, key: u32) -> bool {
        sessions.put(key.to_be_bytes().to_vec(), vec![1])
    }

    fn has(sessions: &Sessions, key: u32) -> bool {
        sessions.get(&key.to_be_bytes()).is_some()
    }

    #[test]
    fn the_oldest_makes_room() {
        let sessions = Sessions::new(100, 300, || 0);
        assert!((0..1000).all(|key| put(&sessions, key)));
        assert!(!has(&sessions, 899) && has(&sessions, 900) && has(&sessions, 999));
        assert!(sessions.kept().by_key.len() <= 100 && sessions.kept().order.len() <= 100);
        // Who comes and goes takes no room.
        for key in 0..1000 {
            put(&sessions, key);
            assert!(sessions.take(&key.to_be_bytes()).is_some());
        }
        assert!(sessions.kept().order.len() <= 100);
    }

    #[test]
    fn a_session_has_its_time() {
        let sessions = Sessions::new(0, 300, || NOW_S.get() * 1_000_000);
        put(&sessions, 1);
        NOW_S.set(1299);
        assert!(has(&sessions, 1));
        NOW_S.set(1300);
        assert!(!has(&sessions, 1) && sessions.take(&1_u32.to_be_bytes()).is_none());
        put(&sessions, 2);
        NOW_S.set(10);
        assert!(!has(&sessions, 2));
        assert!(!sessions.put(vec![3], vec![0; SESSION_BYTES_MAX + 1]));
    }
}
