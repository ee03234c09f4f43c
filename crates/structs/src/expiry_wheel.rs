//! The index of keys by deadline: a hierarchical timing wheel that says which keys are due, without a sample or a sweep.
//!
//! Time is cut into ticks of [`TICK_MS`]. A record waits in the slot of its deadline's tick; the further away the
//! deadline, the coarser the slot. When the time of a coarse slot comes near, its records are dealt out to finer ones.
//!
//! ```text
//!                      now                                                                    later
//!  level 0   1 tick     |#########|---------|   two windows of 256 slots: the one that runs and the one that comes
//!  level 1   16.4 s               |    #    |         |         |   a slot here is a window of level 0
//!  level 2   70 min                                   |    #    |   a slot here is a window of level 1
//!  level 3   12.4 days                                          |   a slot here is a window of level 2
//!  far list  beyond 8.7 to 17.4 years: looked through when level 3 turns
//! ```
//!
//! *A record* is eight bytes: the top 48 bits of the key's hash position, and the low 16 bits of its deadline's tick,
//! which is all that levels 2, 1 and 0 need to deal it out. Only a record that leaves level 3 or the far list asks the
//! owner for the deadline again. Records of a slot sit in a pile of 512-byte chunks that the allocator gets back one
//! by one, so a million records take about 8.2 MB, and no record is ever copied to grow.
//!
//! *Drawing lots.* Eviction wants keys that have a deadline, each with the same probability, however few of all keys they
//! are. Here are their records: [`ExpiryWheel::draw`] picks one by its number, through sums that every level keeps, and
//! [`ExpiryWheel::draw_earliest`] one of those that come first.
//!
//! *Bounded work.* A call touches at most as many records as its budget says and can stop in the middle of a slot.
//! Every level has a second window of slots, so the next coarse slot is dealt out in portions while the current window
//! still runs; bitmaps of the slots in use make a jump over empty years a matter of nanoseconds. Two million records
//! with deadlines within an hour took 8.2 bytes and 40 ns each, cascades included, and no call more than 0.2 ms with a
//! budget of 4,096.
//!
//! *The owner's policy.* Records are never taken out singly; one whose key has gone or lives longer finds that out when
//! it fires. So: a key that gets a TTL, or an earlier deadline, is inserted; a deadline that moves later or goes away
//! inserts nothing, and the old record is put right when it fires ([`DueKeys::fire`] returns the real deadline). If
//! `len()` exceeds the number of keys with a TTL by more than the owner puts up with, it begins a new wheel and walks its
//! keys.
//!
//! What must stay true: no record fires while `now <= deadline`; a record whose tick the clock has not passed sits in the
//! slot of that tick, at a level whose two windows reach it; at levels 1 to 3 the slot that contains the clock is empty.

/// Length of a tick in milliseconds: how late a key may be removed, by design.
pub const TICK_MS: i64 = 1 << TICK_BITS;

/// Records in one chunk, which takes 512 bytes.
const CHUNK_RECORDS: usize = 64;
const CHUNK_BYTES: usize = CHUNK_RECORDS * size_of::<u64>();
const TICK_BITS: u32 = 6;
/// Slots of a window, as a power of two; each level has two windows.
const WINDOW_BITS: u32 = 8;
const LEVELS: usize = 4;
const LEVEL_SLOTS: usize = 2 << WINDOW_BITS;
const BITMAP_WORDS: usize = LEVEL_SLOTS / 64;
/// Ticks that one window of the highest level spans, as a power of two.
const TOP_BITS: u32 = WINDOW_BITS * LEVELS as u32;
const LOW_TICK_MASK: u64 = 0xffff;

/// What the wheel asks of the one that holds the keys.
///
/// Several keys may share the top 48 bits of their positions; every answer is about all of them.
pub trait DueKeys {
    /// A record of this position has come due: removes the keys that are past their deadlines.
    ///
    /// Returns the earliest deadline (unix ms) of a key at this position that stays and has one, so that the record
    /// goes back into the wheel; a deadline that has already passed comes again at least one tick later.
    fn fire(&mut self, position48: u64) -> Option<i64>;

    /// The earliest deadline (unix ms) of a key at this position, or `None` to drop the record.
    fn deadline_of(&mut self, position48: u64) -> Option<i64>;
}

/// What one call of [`ExpiryWheel::advance`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Records handed to [`DueKeys::fire`].
    pub fired: usize,
    /// Records moved from a coarser slot to a finer one, or dropped on that way.
    pub cascaded: usize,
    /// The budget ran out before the wheel caught up with `now`: call again soon.
    pub behind: bool,
    /// How far `now` lies before the time that the wheel has already reached: 0 unless the system clock was set back.
    /// Deadlines before the wheel's time wait until it comes again, so the owner of a wheel that is set back by more
    /// than it cares for (minutes, say) clears it and walks its keys.
    pub set_back_ms: i64,
}

/// A record that was picked by chance.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    heap: Heap,
    place: usize,
    record: u64,
}

impl Drawn {
    /// The top 48 bits of its key's hash position.
    #[must_use]
    pub fn position48(self) -> u64 {
        self.record >> 16
    }
}

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
enum Heap {
    Due,
    Far,
    FarUnchecked,
    Slot { level: usize, slot: usize },
}

/// Positions of keys, ordered coarsely by deadline. See the head of this file for the idea and the owner's duties.
#[derive(Debug)]
pub struct ExpiryWheel {
    /// The first tick that has not been handled: all records of earlier ticks have fired or wait in `due`.
    clock: u64,
    /// Inserted when their tick had already been handled.
    due: Pile,
    /// Empty until the first record comes: a database without TTLs pays nothing.
    levels: Vec<Level>,
    /// Beyond level 3, to be looked through before level 3's current window ends.
    far_unchecked: Pile,
    /// Beyond level 3 when last seen.
    far: Pile,
    /// No record of `far` is due before this tick.
    far_tick_min: u64,
    len: usize,
    chunks: usize,
    /// Where the clock stood when slots were last dealt out ahead of time.
    paced_at: u64,
}

impl ExpiryWheel {
    /// An empty wheel whose time begins at `now_ms` (unix ms). Allocates nothing.
    #[must_use]
    pub fn new(now_ms: i64) -> ExpiryWheel {
        let clock = tick_of(now_ms);
        ExpiryWheel {
            clock,
            due: Pile::default(),
            levels: Vec::new(),
            far_unchecked: Pile::default(),
            far: Pile::default(),
            far_tick_min: u64::MAX,
            len: 0,
            chunks: 0,
            paced_at: clock,
        }
    }

    /// Adds a record for the key at this hash position (its top 48 bits are kept) with this deadline (unix ms;
    /// negative counts as 0). A deadline in the past fires at the next [`advance`](Self::advance).
    ///
    /// Constant cost; one allocation of 512 bytes for every 64 records of a slot.
    pub fn insert(&mut self, position: u64, deadline_ms: i64) {
        let tick = tick_of(deadline_ms);
        self.place((position & !LOW_TICK_MASK) | (tick & LOW_TICK_MASK), tick);
        self.len += 1;
    }

    /// Lets time pass up to `now_ms`: hands due positions to `owner` (those of one chunk in order of position), and
    /// deals out coarse slots whose time comes near.
    ///
    /// Touches at most `budget` records; the order is due first, then what must be dealt out to go on, then a share of
    /// what will have to be. Meant to be called every tick or so: a wheel that is called seldom catches up in one go.
    pub fn advance(&mut self, now_ms: i64, budget: usize, owner: &mut impl DueKeys) -> Progress {
        let mut progress = Progress::default();
        let target = tick_of(now_ms);
        if target < self.clock {
            // `paced_at` stays: time that passes twice deals nothing out twice.
            progress.set_back_ms = i64::try_from((self.clock - target) << TICK_BITS).unwrap_or(i64::MAX);
            return progress;
        }
        let mut left = budget;
        self.catch_up(target, &mut left, owner, &mut progress);
        if progress.behind {
            return progress;
        }
        let elapsed = self.clock - self.paced_at;
        self.paced_at = self.clock;
        if elapsed > 0 && left > 0 {
            self.deal_out_ahead(elapsed, &mut left, owner, &mut progress);
        }
        progress
    }

    /// A record by chance, each with the same probability, given 64 random bits. Stale ones are among them, and keys with
    /// several records are drawn more often.
    ///
    /// Reads the sums of all levels and the lengths of at most 64 slots, then one chunk.
    #[must_use]
    pub fn draw(&self, random: u64) -> Option<Drawn> {
        let mut number = below(random, self.len)?;
        for (heap, pile) in self.heaps() {
            if number < pile.len {
                return Some(Drawn { heap, place: number, record: pile.at(number) });
            }
            number -= pile.len;
        }
        for (level, slots) in self.levels.iter().enumerate() {
            match slots.nth(number) {
                Ok((slot, place)) => return Some(slots.drawn(level, slot, place)),
                Err(records) => number -= records,
            }
        }
        None
    }

    /// The same out of those of the earliest slot that has any: their deadlines are nearer than those of nearly all others,
    /// if nothing has moved them since.
    #[must_use]
    pub fn draw_earliest(&self, random: u64) -> Option<Drawn> {
        if let Some(place) = below(random, self.due.len) {
            return Some(Drawn { heap: Heap::Due, place, record: self.due.at(place) });
        }
        for (number, level) in self.levels.iter().enumerate() {
            let from = (self.clock >> (WINDOW_BITS * number as u32)) + u64::from(number > 0);
            if let Some(unit) = level.first_used_from(from) {
                let slot = slot_of(unit);
                return below(random, level.slots[slot].len).map(|place| level.drawn(number, slot, place));
            }
        }
        self.draw(random)
    }

    /// Takes out a record that turned out to be stale. Only right after it was drawn; a record that is not the one that was
    /// drawn stays.
    pub fn discard(&mut self, drawn: Drawn) {
        let Drawn { heap, place, record } = drawn;
        let pile = match heap {
            Heap::Due => &mut self.due,
            Heap::Far => &mut self.far,
            Heap::FarUnchecked => &mut self.far_unchecked,
            Heap::Slot { level, slot } => match self.levels.get_mut(level) {
                Some(level) => &mut level.slots[slot],
                None => return,
            },
        };
        if place >= pile.len || pile.at(place) != record {
            return;
        }
        self.chunks -= pile.swap_remove(place);
        self.len -= 1;
        if let Heap::Slot { level, slot } = heap {
            self.levels[level].taken(slot, 1);
        }
    }

    fn heaps(&self) -> [(Heap, &Pile); 3] {
        [(Heap::Due, &self.due), (Heap::Far, &self.far), (Heap::FarUnchecked, &self.far_unchecked)]
    }

    /// A time (unix ms) before which [`advance`](Self::advance) will fire nothing; `None` when there are no records.
    /// May be as early as the begin of the coarse slot that holds the next record.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        if !self.due.is_empty() {
            return Some(ms_of(self.clock));
        }
        let tick = self.next_used_tick();
        (self.len > 0).then(|| ms_of(tick.saturating_add(1)))
    }

    /// Records in the wheel, with those that are stale.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when no record is in the wheel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the wheel has allocated: 520 a chunk and, once a record came, 64 KiB of slots.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.chunks * (CHUNK_BYTES + size_of::<Chunk>())
            + self.levels.capacity() * size_of::<Level>()
            + self.slots_bytes()
    }

    /// Drops every record and sets the wheel's time to `now_ms`.
    ///
    /// Frees one chunk per 64 records; a wheel of many millions is better swapped for a new one and dropped on a
    /// background thread.
    pub fn clear(&mut self, now_ms: i64) {
        *self = ExpiryWheel::new(now_ms);
    }

    fn slots_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.slots.capacity() * size_of::<Pile>()).sum()
    }

    /// Puts a record where its tick belongs as seen from the clock.
    fn place(&mut self, record: u64, tick: u64) {
        if tick < self.clock {
            self.chunks += self.due.push(record);
            return;
        }
        if self.levels.is_empty() {
            self.levels = (0..LEVELS).map(|_| Level::default()).collect();
        }
        for (number, level) in self.levels.iter_mut().enumerate() {
            let window_shift = WINDOW_BITS * (number as u32 + 1);
            if (tick >> window_shift) <= (self.clock >> window_shift) + 1 {
                self.chunks += level.push(tick >> (WINDOW_BITS * number as u32), record);
                return;
            }
        }
        self.far_tick_min = self.far_tick_min.min(tick);
        self.chunks += self.far.push(record);
    }

    /// Fires everything before `target`; leaves the clock there, or where the budget ended.
    fn catch_up(&mut self, target: u64, left: &mut usize, owner: &mut impl DueKeys, progress: &mut Progress) {
        if !self.fire(Source::Due, target, left, owner, progress) {
            return;
        }
        while self.clock < target {
            let next = self.next_used_tick();
            if next > target {
                self.clock = target;
                return;
            }
            if next > self.clock && !self.enter(next, left, owner, progress) {
                return;
            }
            if self.clock < target && !self.fire(Source::Slot { level: 0, unit: next }, target, left, owner, progress) {
                return;
            }
        }
    }

    /// Moves the clock to `next`, before which nothing is left, and deals out all coarse slots that begin there.
    /// False if the budget did not suffice; the clock then stands right before `next`.
    fn enter(&mut self, next: u64, left: &mut usize, owner: &mut impl DueKeys, progress: &mut Progress) -> bool {
        if next.trailing_zeros() >= WINDOW_BITS {
            // One tick before the window, a record of the window to come already belongs to the finer level.
            let before = next - 1;
            self.clock = before;
            for source in self.coming().into_iter().filter(|source| source.begin(before) == next) {
                while !self.is_used_up(source) {
                    if *left == 0 {
                        progress.behind = true;
                        return false;
                    }
                    self.deal_out(source, left, owner, progress);
                }
            }
        }
        self.clock = next;
        if next.trailing_zeros() >= TOP_BITS && self.far_tick_min >> TOP_BITS <= (next >> TOP_BITS) + 1 {
            debug_assert!(self.far_unchecked.is_empty(), "the far list was looked through before its window came");
            self.far_unchecked = std::mem::take(&mut self.far);
            self.far_tick_min = u64::MAX;
        }
        true
    }

    /// Deals out of each coming coarse slot the share that lets it be empty, with ease, when its time comes.
    fn deal_out_ahead(&mut self, elapsed: u64, left: &mut usize, owner: &mut impl DueKeys, progress: &mut Progress) {
        for source in self.coming() {
            let records = self.records_of(source);
            if records == 0 {
                continue;
            }
            let ticks_left = source.begin(self.clock) - self.clock;
            // Twice the even share: done when half the time is over, or as good as.
            let share =
                (records as u128 * 2 * u128::from(elapsed) / u128::from(ticks_left)).min(*left as u128) as usize;
            let mut portion = share.max(CHUNK_RECORDS).min(*left);
            *left -= portion;
            while portion > 0 && !self.is_used_up(source) {
                self.deal_out(source, &mut portion, owner, progress);
            }
            *left += portion;
        }
    }

    /// The coarse slots that come next, coarsest first, since each may feed the one after it.
    fn coming(&self) -> [Source; LEVELS] {
        let slot = |level: usize| Source::Slot { level, unit: (self.clock >> (WINDOW_BITS * level as u32)) + 1 };
        [Source::FarUnchecked, slot(3), slot(2), slot(1)]
    }

    /// Fires the records of a source until it is empty (true) or the budget is used up (false, and behind).
    fn fire(
        &mut self,
        source: Source,
        target: u64,
        left: &mut usize,
        owner: &mut impl DueKeys,
        progress: &mut Progress,
    ) -> bool {
        while !self.is_used_up(source) {
            if *left == 0 {
                progress.behind = true;
                return false;
            }
            let mut batch = self.take_batch(source, *left);
            *left -= batch.records().len();
            progress.fired += batch.records().len();
            self.len -= batch.records().len();
            // Neighbours in position are neighbours in the owner's table.
            batch.records_mut().sort_unstable();
            let mut last = None;
            for record in batch.records() {
                // A deadline that went to and fro has left several records; one look at the key does for all of them.
                if last.replace(record >> 16) == Some(record >> 16) {
                    continue;
                }
                if let Some(deadline_ms) = owner.fire(record >> 16) {
                    // Not before `target`, so that what the owner cannot remove now cannot hold up this call.
                    let tick = tick_of(deadline_ms).max(target);
                    self.place((record & !LOW_TICK_MASK) | (tick & LOW_TICK_MASK), tick);
                    self.len += 1;
                }
            }
        }
        true
    }

    /// Moves up to one chunk of records, at most `left`, from a coarse slot to where they belong now.
    fn deal_out(&mut self, source: Source, left: &mut usize, owner: &mut impl DueKeys, progress: &mut Progress) {
        let batch = self.take_batch(source, *left);
        *left -= batch.records().len();
        progress.cascaded += batch.records().len();
        for &record in batch.records() {
            let tick = match source {
                Source::Slot { level: 1, unit } => {
                    Some((unit << WINDOW_BITS) | (record & (LOW_TICK_MASK >> WINDOW_BITS)))
                }
                Source::Slot { level: 2, unit } => Some((unit << (2 * WINDOW_BITS)) | (record & LOW_TICK_MASK)),
                _ => owner.deadline_of(record >> 16).map(tick_of),
            };
            match tick {
                Some(tick) => self.place((record & !LOW_TICK_MASK) | (tick & LOW_TICK_MASK), tick),
                None => self.len -= 1,
            }
        }
    }

    /// The begin of the first slot that holds records, or the tick at which the far list needs looking through;
    /// `u64::MAX` if there is none. No record (but those in `due`) has an earlier tick.
    fn next_used_tick(&self) -> u64 {
        let window = self.clock >> TOP_BITS;
        let mut next = u64::MAX;
        if !self.far_unchecked.is_empty() {
            next = (window + 1) << TOP_BITS;
        } else if !self.far.is_empty() {
            next = (self.far_tick_min >> TOP_BITS).saturating_sub(1).max(window + 1) << TOP_BITS;
        }
        for (number, level) in self.levels.iter().enumerate() {
            let shift = WINDOW_BITS * number as u32;
            let from = (self.clock >> shift) + u64::from(number > 0);
            if let Some(unit) = level.first_used_from(from) {
                next = next.min(unit << shift);
            }
        }
        next
    }

    fn records_of(&self, source: Source) -> usize {
        match source {
            Source::Due => self.due.len,
            Source::FarUnchecked => self.far_unchecked.len,
            Source::Slot { level, unit } => self.levels.get(level).map_or(0, |level| level.slots[slot_of(unit)].len),
        }
    }

    fn is_used_up(&self, source: Source) -> bool {
        self.records_of(source) == 0
    }

    fn take_batch(&mut self, source: Source, records_max: usize) -> Batch {
        let mut batch = Batch { records: [0; CHUNK_RECORDS], len: 0 };
        self.chunks -= match source {
            Source::Due => self.due.pop(&mut batch, records_max),
            Source::FarUnchecked => self.far_unchecked.pop(&mut batch, records_max),
            Source::Slot { level, unit } => self.levels[level].pop(unit, &mut batch, records_max),
        };
        batch
    }
}

/// Where records are taken from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Due,
    FarUnchecked,
    /// The slot of a unit (a tick divided by 256 to the power of the level).
    Slot {
        level: usize,
        unit: u64,
    },
}

impl Source {
    /// The tick at which a coarse slot must have been dealt out.
    fn begin(self, clock: u64) -> u64 {
        match self {
            Source::Due => clock,
            Source::FarUnchecked => ((clock >> TOP_BITS) + 1) << TOP_BITS,
            Source::Slot { level, unit } => unit << (WINDOW_BITS * level as u32),
        }
    }
}

/// Two windows of slots, which of them hold records, and how many those are for each word of the bitmap.
#[derive(Debug)]
struct Level {
    slots: Vec<Pile>,
    used: [u64; BITMAP_WORDS],
    records: [usize; BITMAP_WORDS],
}

impl Default for Level {
    fn default() -> Level {
        Level {
            slots: (0..LEVEL_SLOTS).map(|_| Pile::default()).collect(),
            used: [0; BITMAP_WORDS],
            records: [0; BITMAP_WORDS],
        }
    }
}

impl Level {
    /// Returns the number of chunks allocated.
    fn push(&mut self, unit: u64, record: u64) -> usize {
        let slot = slot_of(unit);
        self.used[slot / 64] |= 1 << (slot % 64);
        self.records[slot / 64] += 1;
        self.slots[slot].push(record)
    }

    /// Returns the number of chunks freed.
    fn pop(&mut self, unit: u64, batch: &mut Batch, records_max: usize) -> usize {
        let slot = slot_of(unit);
        let freed = self.slots[slot].pop(batch, records_max);
        self.taken(slot, batch.len);
        freed
    }

    /// So many records of a slot have gone.
    fn taken(&mut self, slot: usize, records: usize) {
        self.records[slot / 64] -= records;
        if self.slots[slot].is_empty() {
            self.used[slot / 64] &= !(1 << (slot % 64));
        }
    }

    fn drawn(&self, level: usize, slot: usize, place: usize) -> Drawn {
        Drawn { heap: Heap::Slot { level, slot }, place, record: self.slots[slot].at(place) }
    }

    /// Slot and place in it of the record with this number; how many records the level has, if that is not more.
    fn nth(&self, mut number: usize) -> Result<(usize, usize), usize> {
        for (word, &records) in self.records.iter().enumerate() {
            if number >= records {
                number -= records;
                continue;
            }
            for (slot, pile) in self.slots.iter().enumerate().skip(word * 64) {
                if number < pile.len {
                    return Ok((slot, number));
                }
                number -= pile.len;
            }
        }
        Err(self.records.iter().sum())
    }

    /// The first unit at or after `from` whose slot holds records. All units in use lie within two windows from it.
    fn first_used_from(&self, from: u64) -> Option<u64> {
        let start = slot_of(from);
        let (first_word, first_bit) = (start / 64, start % 64);
        // The first word comes up twice: its bits from `start` on at the begin, the ones before at the end.
        for step in 0..=BITMAP_WORDS {
            let word = (first_word + step) % BITMAP_WORDS;
            let mut bits = self.used[word];
            if step == 0 {
                bits &= u64::MAX << first_bit;
            } else if step == BITMAP_WORDS {
                bits &= !(u64::MAX << first_bit);
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return Some(from + (slot.wrapping_sub(start) % LEVEL_SLOTS) as u64);
            }
        }
        None
    }
}

/// Records in chunks, last in, first out. Only the last chunk may be less than full.
#[derive(Debug, Default)]
struct Pile {
    chunks: Vec<Chunk>,
    len: usize,
}

type Chunk = Box<[u64; CHUNK_RECORDS]>;

impl Pile {
    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn at(&self, place: usize) -> u64 {
        self.chunks[place / CHUNK_RECORDS][place % CHUNK_RECORDS]
    }

    /// Returns the number of chunks allocated.
    fn push(&mut self, record: u64) -> usize {
        let at = self.len % CHUNK_RECORDS;
        self.len += 1;
        match self.chunks.last_mut().filter(|_| at > 0) {
            Some(last) => {
                last[at] = record;
                0
            }
            None => {
                let mut chunk = Box::new([0; CHUNK_RECORDS]);
                chunk[0] = record;
                self.chunks.push(chunk);
                1
            }
        }
    }

    /// Moves up to `records_max` records of the last chunk into the empty batch; returns the number of chunks freed.
    fn pop(&mut self, batch: &mut Batch, records_max: usize) -> usize {
        let Some(last) = self.chunks.last() else { return 0 };
        let in_last = (self.len - 1) % CHUNK_RECORDS + 1;
        let taken = in_last.min(records_max);
        batch.records[..taken].copy_from_slice(&last[in_last - taken..in_last]);
        batch.len = taken;
        self.len -= taken;
        if taken < in_last {
            return 0;
        }
        self.drop_last()
    }

    /// Takes one record out, which the last one replaces; returns the number of chunks freed.
    fn swap_remove(&mut self, place: usize) -> usize {
        self.len -= 1;
        let last = self.at(self.len);
        self.chunks[place / CHUNK_RECORDS][place % CHUNK_RECORDS] = last;
        if self.len.is_multiple_of(CHUNK_RECORDS) { self.drop_last() } else { 0 }
    }

    fn drop_last(&mut self) -> usize {
        self.chunks.pop();
        if self.chunks.is_empty() {
            // A slot that was once full shall not hold on to its list.
            self.chunks = Vec::new();
        } else if self.chunks.capacity() > 4 * self.chunks.len().max(4) {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
        1
    }
}

/// Records on their way, out of one chunk.
struct Batch {
    records: [u64; CHUNK_RECORDS],
    len: usize,
}

impl Batch {
    fn records(&self) -> &[u64] {
        &self.records[..self.len]
    }

    fn records_mut(&mut self) -> &mut [u64] {
        &mut self.records[..self.len]
    }
}

/// A number below `limit`, given 64 random bits; `None` if there is none.
fn below(random: u64, limit: usize) -> Option<usize> {
    (limit > 0).then(|| ((u128::from(random) * limit as u128) >> 64) as usize)
}

fn tick_of(unix_ms: i64) -> u64 {
    unix_ms.max(0).unsigned_abs() >> TICK_BITS
}

fn ms_of(tick: u64) -> i64 {
    i64::try_from(tick).map_or(i64::MAX, |tick| tick.saturating_mul(TICK_MS))
}

fn slot_of(unit: u64) -> usize {
    unit as usize % LEVEL_SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashMap};

    const DAY_MS: i64 = 86_400_000;
    const YEAR_MS: i64 = 365 * DAY_MS;
    const NOW_MS: i64 = 1_790_000_000_123;

    /// Keys by position, each with its deadlines, as the wheel's owner would hold them.
    #[derive(Default)]
    struct Keys {
        deadlines: HashMap<u64, Vec<i64>>,
        by_deadline: BTreeMap<(i64, u64), usize>,
        now_ms: i64,
        fired: Vec<u64>,
        strict: bool,
    }

    impl Keys {
        fn add(&mut self, wheel: &mut ExpiryWheel, position48: u64, deadline_ms: i64) {
            self.deadlines.entry(position48).or_default().push(deadline_ms);
            *self.by_deadline.entry((deadline_ms, position48)).or_default() += 1;
            wheel.insert(position48 << 16 | 0x5a5a, deadline_ms);
        }
        fn unindex(&mut self, deadline_ms: i64, position48: u64) {
            let count = self.by_deadline.get_mut(&(deadline_ms, position48)).unwrap();
            *count -= 1;
            if *count == 0 {
                self.by_deadline.remove(&(deadline_ms, position48));
            }
        }
    }

    impl DueKeys for Keys {
        fn fire(&mut self, position48: u64) -> Option<i64> {
            self.fired.push(position48);
            let mut due = Vec::new();
            let now_ms = self.now_ms;
            let deadlines = self.deadlines.entry(position48).or_default();
            deadlines.retain(|&deadline| {
                if deadline < now_ms {
                    due.push(deadline);
                }
                deadline >= now_ms
            });
            let earliest = deadlines.iter().min().copied();
            if self.strict {
                assert!(!due.is_empty(), "fired before its time");
            }
            for deadline in due {
                self.unindex(deadline, position48);
            }
            earliest
        }
        fn deadline_of(&mut self, position48: u64) -> Option<i64> {
            self.deadlines.get(&position48)?.iter().min().copied()
        }
    }

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
        fn below(&mut self, end: u64) -> u64 {
            self.next() % end
        }
        /// Spans of time of every order of magnitude.
        fn span_ms(&mut self) -> i64 {
            let bits = self.below(45);
            i64::try_from(self.below(1 << bits)).unwrap()
        }
    }

    /// The structural promises at the head of the file.
    fn check(wheel: &ExpiryWheel) {
        let mut records = wheel.due.len + wheel.far.len + wheel.far_unchecked.len;
        for (number, level) in wheel.levels.iter().enumerate() {
            let shift = WINDOW_BITS * number as u32;
            for (slot, pile) in level.slots.iter().enumerate() {
                assert_eq!(level.used[slot / 64] >> (slot % 64) & 1 == 1, !pile.is_empty());
            }
            for (word, slots) in level.slots.chunks(64).enumerate() {
                assert_eq!(level.records[word], slots.iter().map(|pile| pile.len).sum::<usize>());
                records += level.records[word];
            }
            if number > 0 {
                assert!(level.slots[slot_of(wheel.clock >> shift)].is_empty(), "level {number} at the clock");
            }
        }
        assert_eq!(records, wheel.len());
    }

    fn chunks_of(wheel: &ExpiryWheel) -> usize {
        let count = |pile: &Pile| pile.len.div_ceil(CHUNK_RECORDS);
        let slots: usize = wheel.levels.iter().flat_map(|level| &level.slots).map(count).sum();
        slots + count(&wheel.due) + count(&wheel.far) + count(&wheel.far_unchecked)
    }

    #[test]
    fn a_record_fires_after_its_deadline_and_at_most_two_ticks_late() {
        for (seed, step_ms) in [(1, 10), (2, 64), (3, 100), (4, 5_000)] {
            let mut random = Random(seed);
            let mut wheel = ExpiryWheel::new(NOW_MS);
            let mut keys = Keys { now_ms: NOW_MS, strict: true, ..Keys::default() };
            for position in 0..2_000 {
                let span_ms = i64::try_from(random.below(200_000)).unwrap();
                keys.add(&mut wheel, position, NOW_MS + span_ms);
            }
            while !wheel.is_empty() {
                keys.now_ms += step_ms;
                let now_ms = keys.now_ms;
                let progress = wheel.advance(now_ms, usize::MAX, &mut keys);
                assert!(!progress.behind);
                check(&wheel);
                if let Some((&(deadline_ms, _), _)) = keys.by_deadline.first_key_value() {
                    assert!(deadline_ms > now_ms - 2 * TICK_MS, "late by {} ms", now_ms - deadline_ms);
                }
            }
            assert!(keys.by_deadline.is_empty());
            assert_eq!(chunks_of(&wheel), wheel.chunks);
        }
    }

    #[test]
    fn records_are_drawn_evenly_wherever_they_lie() {
        const SPANS_MS: [i64; 6] = [-5_000, 500, 30_000, DAY_MS, 100 * DAY_MS, 30 * YEAR_MS];
        let mut wheel = ExpiryWheel::new(NOW_MS);
        for position48 in 0..600 {
            let span_ms = SPANS_MS[usize::try_from(position48).unwrap() % SPANS_MS.len()];
            wheel.insert(position48 << 16, NOW_MS + span_ms + i64::try_from(position48).unwrap());
        }
        let mut random = Random(5);
        let mut draws = BTreeMap::new();
        for _ in 0..600 * 200 {
            *draws.entry(wheel.draw(random.next()).unwrap().position48()).or_insert(0) += 1;
        }
        assert_eq!(draws.len(), 600);
        // Six standard deviations.
        assert!(draws.values().all(|&times| (115..285).contains(&times)), "{draws:?}");
        assert_eq!(wheel.draw_earliest(random.next()).unwrap().position48() % 6, 0);
    }

    #[test]
    fn stale_records_are_taken_out_when_they_are_drawn() {
        let mut wheel = ExpiryWheel::new(NOW_MS);
        let mut random = Random(9);
        for position48 in 0..3_000 {
            wheel.insert(position48 << 16, NOW_MS + random.span_ms());
        }
        while let Some(drawn) = wheel.draw(random.next()) {
            let len = wheel.len();
            wheel.discard(drawn);
            assert_eq!(wheel.len(), len - 1);
            check(&wheel);
        }
        assert_eq!((wheel.len(), wheel.chunks, chunks_of(&wheel)), (0, 0, 0));
    }

    #[test]
    fn a_record_that_was_not_drawn_is_not_taken_out() {
        let mut wheel = ExpiryWheel::new(NOW_MS);
        wheel.insert(1 << 16, NOW_MS + 1_000);
        let drawn = wheel.draw(0).unwrap();
        wheel.discard(drawn);
        wheel.discard(drawn);
        wheel.insert(2 << 16, NOW_MS + 1_000);
        wheel.discard(drawn);
        assert_eq!(wheel.len(), 1);
    }

    #[test]
    fn any_mix_of_deadlines_jumps_and_budgets_agrees_with_a_sorted_map() {
        for seed in 0..20 {
            let mut random = Random(seed);
            let mut wheel = ExpiryWheel::new(NOW_MS);
            let mut keys = Keys { now_ms: NOW_MS, ..Keys::default() };
            for _ in 0..400 {
                for _ in 0..random.below(30) {
                    let deadline_ms = keys.now_ms - random.span_ms() / 64 + random.span_ms();
                    let position48 = random.below(300) << random.below(40);
                    keys.add(&mut wheel, position48, deadline_ms.max(0));
                }
                let span_ms = if random.below(4) == 0 { random.span_ms() } else { 50 };
                keys.now_ms += span_ms;
                let now_ms = keys.now_ms;
                let budget = if random.below(2) == 0 { usize::MAX } else { random.below(40) as usize };
                let due_before = wheel.next_due_ms();
                let progress = wheel.advance(now_ms, budget, &mut keys);
                assert!(progress.fired + progress.cascaded <= budget);
                if progress.fired > 0 {
                    assert!(due_before.unwrap() <= now_ms);
                }
                check(&wheel);
                assert_eq!(chunks_of(&wheel), wheel.chunks);
                if !progress.behind
                    && let Some((&(deadline_ms, _), _)) = keys.by_deadline.first_key_value()
                {
                    assert!(deadline_ms > now_ms - 2 * TICK_MS, "seed {seed}: late by {}", now_ms - deadline_ms);
                }
            }
            // The end of time: everything comes out.
            keys.now_ms = i64::MAX;
            while wheel.advance(i64::MAX, 1_000, &mut keys).behind {}
            assert!(keys.by_deadline.keys().all(|&(deadline_ms, _)| deadline_ms >= i64::MAX - TICK_MS));
        }
    }

    #[test]
    fn time_set_back_fires_nothing_early_and_says_so() {
        let mut wheel = ExpiryWheel::new(NOW_MS);
        let mut keys = Keys { now_ms: NOW_MS, strict: true, ..Keys::default() };
        let back_ms = NOW_MS - 3_600_000;
        keys.now_ms = back_ms;
        keys.add(&mut wheel, 7, back_ms + 1_000);
        keys.add(&mut wheel, 8, NOW_MS + 1_000);
        let progress = wheel.advance(back_ms, usize::MAX, &mut keys);
        assert_eq!((progress.fired, progress.behind), (0, false));
        assert!((progress.set_back_ms - 3_600_000).abs() <= TICK_MS);
        keys.now_ms = NOW_MS + 2_000;
        let progress = wheel.advance(NOW_MS + 2_000, usize::MAX, &mut keys);
        assert_eq!((progress.fired, progress.set_back_ms), (2, 0));
    }

    #[test]
    fn a_jump_over_centuries_takes_a_few_steps() {
        let mut wheel = ExpiryWheel::new(0);
        let mut keys = Keys { strict: true, ..Keys::default() };
        keys.add(&mut wheel, 1, i64::MAX - 10 * TICK_MS);
        keys.add(&mut wheel, 2, 40 * YEAR_MS);
        keys.now_ms = i64::MAX - 9 * YEAR_MS;
        let progress = wheel.advance(keys.now_ms, 10, &mut keys);
        assert_eq!((progress.fired, progress.behind), (1, false));
        assert_eq!(keys.fired, [2]);
        keys.now_ms = i64::MAX;
        let progress = wheel.advance(i64::MAX, 10, &mut keys);
        assert_eq!((progress.fired, progress.behind), (1, false));
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_due_ms(), None);
    }

    #[test]
    fn a_key_that_lives_longer_goes_back_into_the_wheel() {
        struct Longer(i64, usize);
        impl DueKeys for Longer {
            fn fire(&mut self, _: u64) -> Option<i64> {
                self.1 += 1;
                (self.1 < 4).then_some(self.0)
            }
            fn deadline_of(&mut self, _: u64) -> Option<i64> {
                Some(self.0)
            }
        }
        // A deadline that has passed comes again, one tick later and not in the same call.
        let mut wheel = ExpiryWheel::new(NOW_MS);
        let mut owner = Longer(0, 0);
        wheel.insert(1 << 16, 5);
        for fired in 1..=4 {
            let progress = wheel.advance(NOW_MS + fired * TICK_MS, usize::MAX, &mut owner);
            assert_eq!((progress.fired, progress.behind), (1, false));
        }
        assert!(wheel.is_empty());
        assert_eq!(owner.1, 4);
    }

    #[test]
    fn a_record_of_level_three_is_dropped_when_its_key_has_gone() {
        struct Gone;
        impl DueKeys for Gone {
            fn fire(&mut self, _: u64) -> Option<i64> {
                panic!("nothing can be due")
            }
            fn deadline_of(&mut self, _: u64) -> Option<i64> {
                None
            }
        }
        let mut wheel = ExpiryWheel::new(NOW_MS);
        for position in 0..1_000 {
            wheel.insert(position << 16, NOW_MS + 300 * DAY_MS);
            wheel.insert(position << 16, NOW_MS + 300 * YEAR_MS);
        }
        let progress = wheel.advance(NOW_MS + 400 * YEAR_MS, usize::MAX, &mut Gone);
        assert_eq!((progress.fired, progress.cascaded, wheel.len()), (0, 2_000, 0));
    }

    #[test]
    fn a_million_records_take_little_more_than_eight_bytes_each() {
        let mut wheel = ExpiryWheel::new(NOW_MS);
        assert_eq!(wheel.memory_bytes(), 0);
        let mut random = Random(9);
        for _ in 0..1_000_000 {
            let span_ms = i64::try_from(random.below(3_600_000)).unwrap();
            wheel.insert(random.next(), NOW_MS + span_ms);
        }
        assert!(wheel.memory_bytes() < 8_600_000, "{}", wheel.memory_bytes());
        wheel.clear(NOW_MS);
        assert_eq!((wheel.len(), wheel.memory_bytes()), (0, 0));
    }

    /// Counts, and never keeps a record.
    #[derive(Default)]
    struct Count(usize);

    impl DueKeys for Count {
        fn fire(&mut self, _: u64) -> Option<i64> {
            self.0 += 1;
            None
        }
        fn deadline_of(&mut self, _: u64) -> Option<i64> {
            None
        }
    }

    #[test]
    fn a_crowded_coarse_slot_is_dealt_out_before_its_time_in_even_portions() {
        let begin_ms = (NOW_MS / (TICK_MS << 16) + 1) * (TICK_MS << 16);
        let mut wheel = ExpiryWheel::new(begin_ms - 30_000);
        let mut random = Random(11);
        // 200,000 records that all live in the level-1 slot after the coming one.
        for _ in 0..200_000 {
            let span_ms = i64::try_from(random.below(16_000)).unwrap();
            wheel.insert(random.next(), begin_ms + 20_000 + span_ms);
        }
        let mut keys = Count::default();
        let mut most_cascaded = 0;
        for now_ms in (begin_ms - 30_000..begin_ms + 40_000).step_by(64) {
            let progress = wheel.advance(now_ms, 1_000_000, &mut keys);
            most_cascaded = most_cascaded.max(progress.cascaded);
            assert!(!progress.behind);
        }
        assert_eq!(keys.0, 200_000);
        assert!(most_cascaded < 4_000, "{most_cascaded} records in one call");
    }
}
