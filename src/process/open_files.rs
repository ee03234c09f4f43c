//! Room for `maxclients` connections in the process's limit of open files, or fewer clients where there is none.

use std::fmt;
use std::io;

/// Descriptors kept for what is not a client: listeners, files, links to other servers.
pub const RESERVED_FILES: u64 = 32;

/// What came of asking for enough open files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFiles {
    /// Clients that fit: what was asked for, or fewer.
    pub clients_max: u32,
    /// The limit of open files now.
    pub limit: u64,
    /// The limit as it was.
    pub limit_before: u64,
    /// What the system said when it refused the whole; `clients_max` is then less than was asked for.
    pub refused: Option<String>,
}

/// The limit has no room for a single client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFewFiles {
    /// The limit of open files.
    pub limit: u64,
    /// What it would have to be.
    pub wanted: u64,
}

impl fmt::Display for TooFewFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooFewFiles { limit, wanted } = self;
        write!(f, "The limit of {limit} open files ('ulimit -n') is too low to start. It should be {wanted} or more.")
    }
}

impl std::error::Error for TooFewFiles {}

/// Raises the limit of open files so that `clients_max` clients fit beside [`RESERVED_FILES`], as far as the system
/// lets it, and says in the log what came of it. Never lowers the limit.
///
/// Errors: not even one client would fit; the server must not start (at run time: must keep the old number).
pub fn raise_open_files(clients_max: u32) -> Result<OpenFiles, TooFewFiles> {
    let outcome = raise_with(clients_max, &mut ProcessLimit)?;
    let wanted = u64::from(clients_max) + RESERVED_FILES;
    let OpenFiles { clients_max: clients_fit, limit, limit_before, refused } = &outcome;
    if let Some(error) = refused {
        tracing::warn!("maxclients {clients_max} takes at least {wanted} open files.");
        tracing::warn!("The limit of open files could not be raised to {wanted}: {error}.");
        tracing::warn!(
            "The limit of open files is {limit}. maxclients has been reduced to {clients_fit} to fit in. For more \
             clients raise 'ulimit -n'."
        );
    } else if limit != limit_before {
        tracing::info!("The limit of open files has been raised to {limit} (it was {limit_before}).");
    }
    Ok(outcome)
}

/// The soft and the hard limit, so that tests need not change the process's own.
trait Limit {
    fn get(&mut self) -> io::Result<(u64, u64)>;
    fn set(&mut self, soft: u64, hard: u64) -> io::Result<()>;
}

fn raise_with(clients_max: u32, limits: &mut dyn Limit) -> Result<OpenFiles, TooFewFiles> {
    /// What POSIX systems gave before anybody asked.
    const LIMIT_UNKNOWN: u64 = 1024;
    let wanted = u64::from(clients_max) + RESERVED_FILES;
    let (limit_before, hard, mut refused) = match limits.get() {
        Ok((soft, hard)) => (soft, hard.max(soft), None),
        Err(error) => (LIMIT_UNKNOWN, LIMIT_UNKNOWN, Some(error.to_string())),
    };
    let mut limit = limit_before;
    if limit < wanted && refused.is_none() {
        // Beyond the hard limit only the privileged get, and they raise both.
        match limits.set(wanted, hard.max(wanted)) {
            Ok(()) => limit = wanted,
            Err(error) => {
                if hard < wanted && limit < hard && limits.set(hard, hard).is_ok() {
                    limit = hard;
                }
                refused = Some(error.to_string());
            }
        }
    }
    if limit >= wanted {
        return Ok(OpenFiles { clients_max, limit, limit_before, refused: None });
    }
    if limit <= RESERVED_FILES {
        return Err(TooFewFiles { limit, wanted });
    }
    let clients_fit = u32::try_from(limit - RESERVED_FILES).unwrap_or(u32::MAX).min(clients_max);
    Ok(OpenFiles { clients_max: clients_fit, limit, limit_before, refused })
}

struct ProcessLimit;

impl Limit for ProcessLimit {
    fn get(&mut self) -> io::Result<(u64, u64)> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to a live local that the call fills.
        let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok((limit.rlim_cur, limit.rlim_max)) }
    }

    fn set(&mut self, soft: u64, hard: u64) -> io::Result<()> {
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the pointer is to a live local that the call reads.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        soft: u64,
        hard: u64,
        ceiling: u64,
    }

    impl Limit for Fake {
        fn get(&mut self) -> io::Result<(u64, u64)> {
            Ok((self.soft, self.hard))
        }
        fn set(&mut self, soft: u64, hard: u64) -> io::Result<()> {
            assert!(soft <= hard && hard >= self.hard);
            if hard > self.ceiling {
                return Err(io::Error::from_raw_os_error(libc::EPERM));
            }
            (self.soft, self.hard) = (soft, hard);
            Ok(())
        }
    }

    #[test]
    fn the_limit_is_raised_as_far_as_allowed_and_clients_are_cut_to_fit() {
        for (soft, hard, ceiling, clients, clients_fit, limit, cut) in [
            // Enough already, and never lowered.
            (20_000, 20_000, 20_000, 10_000, 10_000, 20_000, false),
            // The hard limit suffices.
            (1_024, 524_288, 524_288, 10_000, 10_000, 10_032, false),
            // The privileged raise the hard limit too.
            (1_024, 4_096, 1 << 20, 10_000, 10_000, 10_032, false),
            // Others get what the hard limit allows.
            (1_024, 4_096, 4_096, 10_000, 4_064, 4_096, true),
            (100, 100, 100, 5_000, 68, 100, true),
            (33, 33, 33, 10, 1, 33, true),
        ] {
            let outcome = raise_with(clients, &mut Fake { soft, hard, ceiling }).unwrap();
            assert_eq!((outcome.clients_max, outcome.limit, outcome.limit_before), (clients_fit, limit, soft));
            assert_eq!(outcome.refused.is_some(), cut);
        }
    }

    #[test]
    fn no_room_for_one_client_is_an_error_with_the_figures() {
        let error = raise_with(100, &mut Fake { soft: 20, hard: 32, ceiling: 32 }).unwrap_err();
        assert_eq!(error, TooFewFiles { limit: 32, wanted: 132 });
    }

    #[test]
    fn a_limit_that_cannot_be_read_counts_as_1024() {
        struct Unknown;
        impl Limit for Unknown {
            fn get(&mut self) -> io::Result<(u64, u64)> {
                Err(io::Error::from_raw_os_error(libc::EPERM))
            }
            fn set(&mut self, _: u64, _: u64) -> io::Result<()> {
                panic!("nothing to go by")
            }
        }
        assert_eq!(raise_with(10_000, &mut Unknown).unwrap().clients_max, 992);
        assert_eq!(raise_with(10, &mut Unknown).unwrap().clients_max, 10);
    }

    #[test]
    fn the_limit_of_this_process_holds_a_few_clients() {
        assert_eq!(raise_open_files(8).unwrap().clients_max, 8);
    }
}
