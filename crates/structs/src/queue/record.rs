//! A message as it lies in its queue: 40 bytes beside its place, as long as nothing rare is known of it.

use std::num::NonZeroU8;

use super::{DeathReason, MessageId, Parcel, State, Story};

/// A time that never comes.
pub(super) const NEVER: u64 = u64::MAX;

const STATE_BITS: u8 = 0b111;
const REASON_SHIFT: u32 = 3;
const REDELIVERED: u8 = 1 << 6;
/// Always set, so that no message is all zeros, and none at all takes no more room than one.
const PRESENT: NonZeroU8 = NonZeroU8::new(1 << 7).unwrap();

/// A message. Its place is kept beside it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) parcel: Parcel,
    /// What comes next: the end of its time to live while it is ready or unacked; else when it becomes ready, has to be
    /// committed, or may try again. [`NEVER`] if nothing does.
    time_ms: u64,
    pub(super) acquired: u32,
    pub(super) deliveries: u16,
    pub(super) priority: u8,
    /// The state, the reason of its death if it is dead, whether it may have been handed out before.
    flags: NonZeroU8,
    extra: Option<Box<Extra>>,
}

/// What most messages do without.
#[derive(Clone, Debug)]
struct Extra {
    /// Its id, if that is not its place.
    id: Option<MessageId>,
    /// The end of its time to live, while `time_ms` is something else.
    expires_ms: u64,
    story: Option<Box<Story>>,
}

impl Extra {
    const NOTHING: Extra = Extra { id: None, expires_ms: NEVER, story: None };
}

impl Record {
    /// A ready message that lives for ever.
    pub(super) fn new(parcel: Parcel, priority: u8) -> Record {
        let flags = PRESENT | State::Ready as u8;
        Record { parcel, time_ms: NEVER, acquired: 0, deliveries: 0, priority, flags, extra: None }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        match self.flags.get() & STATE_BITS {
            0 => State::Ready,
            1 => State::Delayed,
            2 => State::Parked,
            3 => State::Held,
            4 => State::Unacked,
            _ => State::Dead,
        }
    }

    /// Why it is dead; `None` if it is not.
    pub(super) fn reason(&self) -> Option<DeathReason> {
        let number = usize::from((self.flags.get() & !(REDELIVERED | PRESENT.get())) >> REASON_SHIFT);
        (self.state() == State::Dead).then(|| DeathReason::ALL[number % DeathReason::ALL.len()])
    }

    /// Changes its state. `due_ms` is for states that have such a time. The end of its time to live stays.
    pub(super) fn set_state(&mut self, state: State, due_ms: u64) {
        let expires_ms = self.expires_ms();
        self.flags = PRESENT | (self.flags.get() & REDELIVERED) | state as u8;
        self.set_times(expires_ms, due_ms);
    }

    /// It is dead.
    pub(super) fn set_dead(&mut self, reason: DeathReason, retry_ms: u64) {
        self.set_state(State::Dead, retry_ms);
        self.flags |= (reason as u8) << REASON_SHIFT;
    }

    /// The end of its time to live.
    #[inline]
    pub(super) fn expires_ms(&self) -> u64 {
        match self.state() {
            State::Ready | State::Unacked => self.time_ms,
            _ => self.extra.as_ref().map_or(NEVER, |extra| extra.expires_ms),
        }
    }

    /// When it becomes ready, has to be committed, or may try again.
    pub(super) fn due_ms(&self) -> Option<u64> {
        match self.state() {
            State::Ready | State::Unacked => None,
            _ => Some(self.time_ms),
        }
    }

    /// Sets both times; `due_ms` is ignored in states without such a time.
    pub(super) fn set_times(&mut self, expires_ms: u64, due_ms: u64) {
        match self.state() {
            State::Ready | State::Unacked => {
                self.time_ms = expires_ms;
                self.change_extra(|extra| extra.expires_ms = NEVER);
            }
            _ => {
                self.time_ms = due_ms;
                if expires_ms != NEVER || self.extra.is_some() {
                    self.need_extra().expires_ms = expires_ms;
                    self.change_extra(|_| ());
                }
            }
        }
    }

    /// Whether it may have been handed out before, as far as the message itself knows: to somebody else than who has it now.
    #[inline]
    pub(super) fn is_redelivered(&self) -> bool {
        self.acquired > u32::from(self.state() == State::Unacked) || self.flags.get() & REDELIVERED != 0
    }

    /// Remembers that it may have been handed out before.
    pub(super) fn set_redelivered(&mut self) {
        self.flags |= REDELIVERED;
    }

    /// Its id, if that is not its place.
    #[inline]
    pub(super) fn own_id(&self) -> Option<MessageId> {
        self.extra.as_ref().and_then(|extra| extra.id)
    }

    /// Gives it an id that is not its place.
    pub(super) fn set_own_id(&mut self, id: MessageId) {
        self.need_extra().id = Some(id);
    }

    pub(super) fn story(&self) -> Option<&Story> {
        self.extra.as_ref().and_then(|extra| extra.story.as_deref())
    }

    pub(super) fn set_story(&mut self, story: Option<Box<Story>>) {
        if story.is_some() || self.extra.is_some() {
            self.need_extra().story = story;
            self.change_extra(|_| ());
        }
    }

    pub(super) fn take_story(&mut self) -> Option<Box<Story>> {
        self.extra.as_mut().and_then(|extra| extra.story.take())
    }

    /// What it owns on the heap, the parcel included.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        let extra = self
            .extra
            .as_ref()
            .map_or(0, |extra| size_of::<Extra>() + extra.story.as_ref().map_or(0, |story| story.memory_bytes()));
        self.parcel.memory_bytes() + extra
    }

    fn need_extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(|| Box::new(Extra::NOTHING))
    }

    /// Changes what is rare, if there is any, and frees it if nothing is left of it.
    fn change_extra(&mut self, change: impl FnOnce(&mut Extra)) {
        if let Some(extra) = &mut self.extra {
            change(extra);
            if extra.id.is_none() && extra.expires_ms == NEVER && extra.story.is_none() {
                self.extra = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Envelope;
    use super::*;

    #[test]
    fn a_message_takes_forty_bytes_beside_its_place() {
        assert_eq!((size_of::<Record>(), size_of::<Option<Record>>()), (40, 40));
    }

    #[test]
    fn the_end_of_its_life_outlives_changes_of_state() {
        let mut record = Record::new(Parcel::new(&Envelope::default()), 0);
        record.set_times(500, 0);
        for (state, due_ms) in [(State::Delayed, Some(7)), (State::Unacked, None), (State::Held, Some(9))] {
            record.set_state(state, due_ms.unwrap_or(NEVER));
            assert_eq!((record.state(), record.expires_ms(), record.due_ms()), (state, 500, due_ms));
        }
        record.set_redelivered();
        record.set_dead(DeathReason::Unresolved, 11);
        assert_eq!(
            (record.reason(), record.due_ms(), record.expires_ms()),
            (Some(DeathReason::Unresolved), Some(11), 500)
        );
        record.set_state(State::Ready, NEVER);
        assert_eq!((record.reason(), record.is_redelivered(), record.expires_ms()), (None, true, 500));
        assert!(record.extra.is_none());
    }
}
