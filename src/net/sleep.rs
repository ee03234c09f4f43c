//! Waiting for events, awake at first where they come soon.
//!
//! To put a processor to sleep and to wake it costs more than most commands, most of all on a virtual machine, and whoever has
//! sent a request waits for that. So where the last wait was short, the next one begins with looking again and again for as
//! long as sleeping would cost. Where nothing comes within that time the loop sleeps, and goes on sleeping at once until a
//! wait is short again: who sends seldom, or from afar, costs what he cost before.
//!
//! A wait may be short only because the loop slept: where there are fewer processors than work, who is waited for runs
//! when nobody looks. So each look for nothing doubles the short waits that it takes until the next one, and each that
//! finds something halves them; and where this thread itself has had to wait for a processor, it is long until it looks
//! again.

use mio::{Events, Poll};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

/// After so many doublings it is tried no less often.
const DOUBTS_MAX: u32 = 12;
/// Looks until it is seen whether there are processors enough.
const LOOKS_UNTIL_CHECK: u32 = 64;
/// They are not if this thread has waited for one for more than this part of the time.
const WAITING_SHARE: u32 = 20;

/// How the loop waits.
#[derive(Debug)]
pub(super) struct Sleeper {
    /// Waits in a row that were short.
    short_waits: u32,
    /// So many looks more were for nothing than not.
    doubts: u32,
    looks: u32,
    /// How long this thread has waited for a processor by a moment.
    waited: (Duration, Instant),
    /// Where the system says that.
    schedstat: Option<File>,
    /// There is a processor for who is to be waited for.
    may_look: bool,
}

impl Sleeper {
    /// For the thread that calls this.
    pub(super) fn new() -> Sleeper {
        Sleeper {
            short_waits: 0,
            doubts: 0,
            looks: 0,
            waited: (Duration::ZERO, Instant::now()),
            // Without it the looks that find nothing have to do.
            schedstat: File::open("/proc/thread-self/schedstat").ok(),
            may_look: thread::available_parallelism().is_ok_and(|processors| processors.get() > 1),
        }
    }

    /// Waits until there are events, for `timeout` at most, and of that for `look` awake at most.
    ///
    /// # Errors
    /// Those of the system. It may have been interrupted by a signal.
    pub(super) fn wait(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        timeout: Duration,
        look: Duration,
    ) -> io::Result<()> {
        if !self.may_look || look.is_zero() || timeout <= look {
            return poll.poll(events, Some(timeout));
        }
        let began = Instant::now();
        if self.is_light() {
            self.check(began);
            loop {
                poll.poll(events, Some(Duration::ZERO))?;
                if !events.is_empty() {
                    self.doubts = self.doubts.saturating_sub(1);
                    return Ok(());
                }
                if began.elapsed() >= look {
                    break;
                }
            }
            self.doubt(self.doubts + 1);
            return poll.poll(events, Some(timeout));
        }
        let result = poll.poll(events, Some(timeout));
        let is_short = !events.is_empty() && began.elapsed() < look;
        self.short_waits = if is_short { self.short_waits.saturating_add(1) } else { 0 };
        result
    }

    fn is_light(&self) -> bool {
        self.short_waits >= 1 << self.doubts
    }

    fn doubt(&mut self, doubts: u32) {
        self.doubts = doubts.min(DOUBTS_MAX);
        self.short_waits = 0;
    }

    /// Sees once in a while whether others want the processor.
    fn check(&mut self, now: Instant) {
        self.looks += 1;
        if self.looks < LOOKS_UNTIL_CHECK {
            return;
        }
        self.looks = 0;
        let Some(waited) = self.schedstat.as_ref().and_then(waited) else { return };
        let (before, then) = std::mem::replace(&mut self.waited, (waited, now));
        if waited.saturating_sub(before) * WAITING_SHARE > now.duration_since(then) {
            self.doubt(DOUBTS_MAX);
        }
    }
}

/// How long a thread has been ready to run and did not.
fn waited(schedstat: &File) -> Option<Duration> {
    let mut text = [0; 64];
    let len = schedstat.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..len)?).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Token, Waker};

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn short_waits_are_followed_by_looks_and_looks_for_nothing_by_more_and_more_sleep() {
        let mut poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
        let mut events = Events::with_capacity(8);
        let mut sleeper = Sleeper { may_look: true, schedstat: None, ..Sleeper::new() };
        // Longer than this test may ever be held up.
        let mut comes = |sleeper: &mut Sleeper, poll: &mut Poll, look: Duration| {
            waker.wake().expect("a waker");
            sleeper.wait(poll, &mut events, LONG, look).expect("an event");
            assert!(!events.is_empty());
        };
        comes(&mut sleeper, &mut poll, LONG / 2);
        assert!(sleeper.is_light());
        comes(&mut sleeper, &mut poll, LONG / 2);
        assert!(sleeper.is_light(), "it was there when it looked");
        let mut none = Events::with_capacity(8);
        let (short, shorter) = (Duration::from_millis(2), Duration::from_millis(1));
        for doubts in 1..=DOUBTS_MAX {
            sleeper.wait(&mut poll, &mut none, short, shorter).expect("a timeout");
            assert!(none.is_empty() && !sleeper.is_light() && sleeper.doubts == doubts);
            for _ in 0..1 << doubts {
                assert!(!sleeper.is_light());
                comes(&mut sleeper, &mut poll, LONG / 2);
            }
            assert!(sleeper.is_light(), "after {doubts} looks for nothing");
        }
        comes(&mut sleeper, &mut poll, LONG / 2);
        assert_eq!(sleeper.doubts, DOUBTS_MAX - 1);
        sleeper.short_waits = 0;
        sleeper.wait(&mut poll, &mut none, short, shorter).expect("a timeout");
        assert_eq!((sleeper.short_waits, none.is_empty()), (0, true), "nothing came in a short time");
        comes(&mut sleeper, &mut poll, Duration::ZERO);
        assert_eq!(sleeper.short_waits, 0, "it is not to look");
    }

    #[test]
    fn who_has_to_wait_for_a_processor_leaves_it_to_others() {
        let mut sleeper = Sleeper::new();
        let now = Instant::now();
        let told = sleeper.schedstat.as_ref().and_then(waited);
        let Some(told) = told else {
            eprintln!("skipped: this system does not say how long a thread waits");
            return;
        };
        // Nothing since, however long that was: no more than this thread has waited meanwhile.
        sleeper.waited = (told, now);
        sleeper.looks = LOOKS_UNTIL_CHECK - 1;
        sleeper.check(now + LONG);
        assert_eq!((sleeper.doubts, sleeper.looks), (0, 0));
        assert!(sleeper.waited.0 >= told && sleeper.waited.1 == now + LONG);
        sleeper.waited = (Duration::ZERO, now);
        sleeper.looks = LOOKS_UNTIL_CHECK - 1;
        sleeper.check(now);
        assert_eq!(sleeper.doubts, if sleeper.waited.0.is_zero() { 0 } else { DOUBTS_MAX });
    }
}
