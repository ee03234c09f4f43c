//! HyperLogLog: how many different elements were seen, within about 0.81 %, in at most 12 KiB. Byte for byte the format of
//! Redis and Valkey, for a HyperLogLog is a string that moves between servers.
//!
//! ```text
//!  0    "HYLL"
//!  4    encoding: 0 dense, 1 sparse
//!  5    three bytes that nobody uses
//!  8    the last count, 64 bits, little endian; its top bit set: out of date
//!  16   the registers
//! ```
//!
//! An element's hash chooses one of 16384 registers by its low 14 bits; the register keeps the longest run of zero bits,
//! plus one, that the rest of a hash ended in. *Dense*: 6 bits a register, from the low end of each byte. *Sparse*: runs,
//!
//! ```text
//!  00xxxxxx            x + 1 registers are 0
//!  01xxxxxx yyyyyyyy   xy + 1 registers are 0
//!  1vvvvvxx            x + 1 registers are v + 1
//! ```
//!
//! until a register passes 32 or the string a configured size; then it becomes dense, for good. Which of the possible
//! runs stand for the same registers depends on the order of additions, and is the same here as there
//! ([`HllBuf::raise`]): so is the estimate, to the last digit (Ertl, "New cardinality estimation algorithms for
//! HyperLogLog sketches", 2017).
//!
//! Invariant: the bytes come from clients. Whatever they are, nothing here panics or reads past them: what is no
//! HyperLogLog by its header is [`NotHll`], and runs that do not come to exactly 16384 registers are [`Corrupted`].

use std::sync::atomic::{AtomicBool, Ordering};

/// Number of registers.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Bytes of a dense HyperLogLog.
pub const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS / 8;
/// Where the last count is stored.
pub const COUNT_AT: usize = 8;

const INDEX_BITS: u32 = 14;
const REGISTER_BITS: usize = 6;
const REGISTER_MASK: u8 = 63;
const HEADER_BYTES: usize = 16;
const MAGIC: &[u8] = b"HYLL";
const ENCODING_AT: usize = 4;
const STALE_BIT: u64 = 1 << 63;
/// Hash bits that are left for the runs of zeros.
const RANK_BITS: usize = 64 - INDEX_BITS as usize;
const HASH_SEED: u64 = 0xadc8_3b19;

/// The string has no header of a HyperLogLog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotHll;

/// The header is right and the registers are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corrupted;

/// How registers are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// Six bits each.
    Dense,
    /// Runs.
    Sparse,
}

/// Where an element is counted, and as what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Which register, below [`REGISTERS`].
    pub register: usize,
    /// 1 to 51.
    pub rank: u8,
}

impl Place {
    /// Of an element.
    pub fn of(element: &[u8]) -> Place {
        let hash = murmur64a(element, HASH_SEED);
        // A bit beyond the hash ends the run of zeros.
        let rest = (hash >> INDEX_BITS) | 1 << RANK_BITS;
        #[expect(clippy::cast_possible_truncation, reason = "14 bits, and a number up to 51")]
        Place { register: hash as usize % REGISTERS, rank: rest.trailing_zeros() as u8 + 1 }
    }
}

/// MurmurHash64A.
fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ (hash >> SHIFT)).wrapping_mul(FACTOR);
    hash ^ (hash >> SHIFT)
}

/// A HyperLogLog that is being looked at; its header is right.
#[derive(Clone, Copy, Debug)]
pub struct Hll<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
}

impl<'a> Hll<'a> {
    /// A string as a HyperLogLog.
    ///
    /// # Errors
    /// It has no such header, or is dense and not as long as that must be.
    pub fn of(bytes: &'a [u8]) -> Result<Hll<'a>, NotHll> {
        if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
            return Err(NotHll);
        }
        match bytes[ENCODING_AT] {
            0 if bytes.len() == DENSE_BYTES => Ok(Hll { bytes, encoding: Encoding::Dense }),
            1 => Ok(Hll { bytes, encoding: Encoding::Sparse }),
            _ => Err(NotHll),
        }
    }

    /// How its registers are stored.
    pub fn encoding(self) -> Encoding {
        self.encoding
    }

    /// The count that is stored in it, unless registers have changed since.
    pub fn stored_count(self) -> Option<u64> {
        let count = self.bytes.get(COUNT_AT..).and_then(<[u8]>::first_chunk).map(|count| u64::from_le_bytes(*count))?;
        (count & STALE_BIT == 0).then_some(count)
    }

    /// Whether adding at this place would change a dense one: where in the string, and to which two bytes.
    pub fn dense_change(self, place: Place) -> Option<(usize, [u8; 2])> {
        let bit = place.register * REGISTER_BITS;
        // The last register begins before the last byte, so both bytes are there.
        let at = (HEADER_BYTES + bit / 8).min(self.bytes.len().saturating_sub(2));
        let shift = (HEADER_BYTES * 8 + bit) - at * 8;
        let two = self.bytes.get(at..).and_then(<[u8]>::first_chunk).map(|two| u16::from_le_bytes(*two))?;
        let old = (two >> shift) & u16::from(REGISTER_MASK);
        let changed = (two & !(u16::from(REGISTER_MASK) << shift)) | u16::from(place.rank) << shift;
        (u16::from(place.rank) > old).then_some((at, changed.to_le_bytes()))
    }

    /// Raises every register of `into` to this one's where that is higher.
    ///
    /// # Errors
    /// The runs are not right; some of the registers may have been raised.
    pub fn merge_into(self, into: &mut Registers) -> Result<(), Corrupted> {
        let packed = &self.bytes[HEADER_BYTES..];
        if self.encoding == Encoding::Dense {
            into.merge_packed(packed);
            return Ok(());
        }
        let mut at = 0;
        let mut runs = Runs(packed);
        for run in runs.by_ref() {
            let registers = into.0.get_mut(at..at + run.len).ok_or(Corrupted)?;
            if run.rank > 0 {
                registers.iter_mut().for_each(|register| *register = run.rank.max(*register));
            }
            at += run.len;
        }
        if at == REGISTERS && runs.0.is_empty() { Ok(()) } else { Err(Corrupted) }
    }

    /// The estimate, computed anew. About 6 µs.
    ///
    /// # Errors
    /// See [`Hll::merge_into`].
    pub fn count(self) -> Result<u64, Corrupted> {
        if self.encoding == Encoding::Dense {
            let mut registers = Registers::new();
            self.merge_into(&mut registers)?;
            return Ok(registers.count());
        }
        let mut histogram = [0; 64];
        let mut covered = 0;
        let mut runs = Runs(&self.bytes[HEADER_BYTES..]);
        for run in runs.by_ref() {
            covered += run.len;
            if covered > REGISTERS {
                return Err(Corrupted);
            }
            histogram[usize::from(run.rank)] += run.len;
        }
        if covered == REGISTERS && runs.0.is_empty() { Ok(estimate(&histogram)) } else { Err(Corrupted) }
    }

    /// The runs of a sparse one as text: `z:` and `Z:` a short and a long run of zeros, `v:` a value and how often.
    pub fn runs_text(self) -> String {
        let runs = Runs(&self.bytes[HEADER_BYTES..]);
        let words: Vec<String> = runs
            .map(|run| match run {
                Run { rank: 0, len, bytes: 1 } => format!("z:{len}"),
                Run { rank: 0, len, .. } => format!("Z:{len}"),
                Run { rank, len, .. } => format!("v:{rank},{len}"),
            })
            .collect();
        words.join(" ")
    }
}

/// All registers, a byte each.
#[derive(Clone, Debug)]
pub struct Registers(Box<[u8; REGISTERS]>);

impl Default for Registers {
    fn default() -> Registers {
        Registers::new()
    }
}

impl Registers {
    /// All zero.
    pub fn new() -> Registers {
        Registers(Box::new([0; REGISTERS]))
    }

    /// Their values.
    pub fn values(&self) -> &[u8] {
        &*self.0
    }

    /// The estimate of how many elements made them so.
    pub fn count(&self) -> u64 {
        let mut counts = [[0_u32; 64]; 8];
        // Equal neighbours are counted in different tables, so that one does not wait for the other.
        for eight in self.0.as_chunks::<8>().0 {
            for (counts, register) in counts.iter_mut().zip(eight) {
                counts[usize::from(register & REGISTER_MASK)] += 1;
            }
        }
        let sum = |rank: usize| counts.iter().map(|counts| counts[rank] as usize).sum();
        estimate(&std::array::from_fn(sum))
    }

    fn merge_packed(&mut self, packed: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && !PORTABLE.load(Ordering::Relaxed) {
            // SAFETY: the processor has the instructions.
            return unsafe { merge_packed_avx2(&mut self.0, packed) };
        }
        merge_packed_portable(&mut *self.0, packed);
    }

    /// Six bits each, as many as `packed` has room for.
    fn pack(&self, packed: &mut [u8]) {
        for (three, four) in packed.as_chunks_mut::<3>().0.iter_mut().zip(self.0.as_chunks::<4>().0) {
            let bits = u32::from_le_bytes(*four);
            let joined = bits & 0x3F | bits >> 2 & 0xFC0 | bits >> 4 & 0x3_F000 | bits >> 6 & 0xFC_0000;
            let [a, b, c, _] = joined.to_le_bytes();
            *three = [a, b, c];
        }
    }
}

fn merge_packed_portable(registers: &mut [u8], packed: &[u8]) {
    for (four, three) in registers.as_chunks_mut::<4>().0.iter_mut().zip(packed.as_chunks::<3>().0) {
        let [a, b, c] = *three;
        let bits = u32::from_le_bytes([a, b, c, 0]);
        let spread = bits & 0x3F | bits << 2 & 0x3F00 | bits << 4 & 0x3F_0000 | bits << 6 & 0x3F00_0000;
        for (register, other) in four.iter_mut().zip(spread.to_le_bytes()) {
            *register = other.max(*register);
        }
    }
}

/// The same for 32 registers at a time, which are 24 bytes: each three bytes go to a lane of four, where shifts move every
/// register to a byte of its own. 0.6 µs for all of them; what the compiler makes of the portable loop takes 1.8 µs with
/// the same instructions and 8 µs without (`cargo bench -p weir-structs --bench bitmaps`).
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn merge_packed_avx2(registers: &mut [u8; REGISTERS], packed: &[u8]) {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_loadu_si256, _mm256_loadu2_m128i, _mm256_max_epu8, _mm256_or_si256,
        _mm256_set1_epi32, _mm256_setr_epi8, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_storeu_si256,
    };
    // The upper half is loaded from 8 bytes further on, so its first three bytes stand fourth; -1 makes a zero.
    let lanes = _mm256_setr_epi8(
        0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, 4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1,
    );
    let masks = [0x3F, 0x3F00, 0x3F_0000, 0x3F00_0000].map(|mask| _mm256_set1_epi32(mask));
    let (groups, rest) = packed.as_chunks::<24>();
    let mut blocks = registers.as_chunks_mut::<32>().0.iter_mut();
    for (group, block) in groups.iter().zip(&mut blocks) {
        let low: &[u8; 16] = group.first_chunk().expect("24 bytes");
        let high: &[u8; 16] = group.last_chunk().expect("24 bytes");
        // SAFETY: 16 bytes may be read from each; no alignment is asked for.
        let bits = unsafe { _mm256_loadu2_m128i(high.as_ptr().cast(), low.as_ptr().cast()) };
        let bits = _mm256_shuffle_epi8(bits, lanes);
        let spread = _mm256_or_si256(
            _mm256_or_si256(_mm256_and_si256(bits, masks[0]), _mm256_and_si256(_mm256_slli_epi32::<2>(bits), masks[1])),
            _mm256_or_si256(
                _mm256_and_si256(_mm256_slli_epi32::<4>(bits), masks[2]),
                _mm256_and_si256(_mm256_slli_epi32::<6>(bits), masks[3]),
            ),
        );
        let place: *mut __m256i = block.as_mut_ptr().cast();
        // SAFETY: the block is 32 bytes; no alignment is asked for.
        let merged = _mm256_max_epu8(spread, unsafe { _mm256_loadu_si256(place) });
        // SAFETY: likewise.
        unsafe { _mm256_storeu_si256(place, merged) };
    }
    // 24 divides what a dense HyperLogLog has, so nothing is left of that.
    if let Some(block) = blocks.next() {
        merge_packed_portable(block, rest);
    }
}

/// Whether vectors of the processor's full width are left unused.
static PORTABLE: AtomicBool = AtomicBool::new(false);

/// Lets registers be merged by the processor's widest vectors, as they are from the start, or not, to compare the two.
pub fn use_wide_vectors(yes: bool) {
    PORTABLE.store(!yes, Ordering::Relaxed);
}

/// The estimate for so many registers of each rank.
fn estimate(histogram: &[usize; 64]) -> u64 {
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    #[expect(clippy::cast_precision_loss, reason = "at most 16384")]
    let number = |count: usize| count as f64;
    let registers = number(REGISTERS);
    let mut sum = registers * tau((registers - number(histogram[RANK_BITS + 1])) / registers);
    for count in histogram[1..=RANK_BITS].iter().rev() {
        sum = (sum + number(*count)) * 0.5;
    }
    sum += registers * sigma(number(histogram[0]) / registers);
    let estimate = (ALPHA * registers * registers / sum).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative; too large ones saturate"
    )]
    // Registers beyond what ranks can be leave nothing to divide by.
    if estimate.is_finite() { estimate as u64 } else { STALE_BIT }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut sum, mut factor) = (x, 1.0);
    loop {
        x *= x;
        let before = sum;
        sum += x * factor;
        factor += factor;
        if sum == before {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut rest, mut factor) = (1.0 - x, 1.0);
    loop {
        x = x.sqrt();
        let before = rest;
        factor *= 0.5;
        rest -= (1.0 - x) * (1.0 - x) * factor;
        if rest == before {
            return rest / 3.0;
        }
    }
}

const ZEROS_SHORT_MAX: usize = 64;
const ZEROS_MAX: usize = 1 << 14;
const VALUE_RANK_MAX: u8 = 32;
const VALUE_LEN_MAX: usize = 4;

/// A run of equal registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    rank: u8,
    len: usize,
    /// How many bytes say so.
    bytes: usize,
}

impl Run {
    /// The first of these bytes; `None` if there is none, or half of one.
    #[inline]
    fn first_of(bytes: &[u8]) -> Option<Run> {
        let (&byte, rest) = bytes.split_first()?;
        let low = usize::from(byte & 0x3F);
        Some(match byte >> 6 {
            0 => Run { rank: 0, len: low + 1, bytes: 1 },
            1 => Run { rank: 0, len: (low << 8 | usize::from(*rest.first()?)) + 1, bytes: 2 },
            _ => Run { rank: (byte >> 2 & 31) + 1, len: usize::from(byte & 3) + 1, bytes: 1 },
        })
    }

    fn is_value(self) -> bool {
        self.rank > 0
    }

    /// The byte for a run of at most [`VALUE_LEN_MAX`] registers of a rank from 1 to [`VALUE_RANK_MAX`].
    #[expect(clippy::cast_possible_truncation, reason = "at most 4")]
    fn value_byte(rank: u8, len: usize) -> u8 {
        0x80 | (rank - 1) << 2 | (len - 1) as u8
    }
}

/// Runs in a row. What is left in the end is half of one.
struct Runs<'a>(&'a [u8]);

impl Iterator for Runs<'_> {
    type Item = Run;

    #[inline]
    fn next(&mut self) -> Option<Run> {
        let run = Run::first_of(self.0)?;
        self.0 = &self.0[run.bytes..];
        Some(run)
    }
}

/// A few runs that take the place of one.
struct NewRuns {
    bytes: [u8; 5],
    len: usize,
}

impl NewRuns {
    #[expect(clippy::cast_possible_truncation, reason = "at most 14 bits, cut into 6 and 8")]
    fn zeros(&mut self, len: usize) {
        match len {
            0 => {}
            1..=ZEROS_SHORT_MAX => self.push(len as u8 - 1),
            _ => {
                debug_assert!(len <= ZEROS_MAX);
                self.push(0x40 | ((len - 1) >> 8) as u8);
                self.push((len - 1) as u8);
            }
        }
    }

    fn values(&mut self, rank: u8, len: usize) {
        if len > 0 {
            self.push(Run::value_byte(rank, len));
        }
    }

    /// A run of the kind that is being split.
    fn like(&mut self, rank: u8, len: usize) {
        if rank == 0 { self.zeros(len) } else { self.values(rank, len) }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// From where to look for the next register, when registers are raised in rising order: a run two before the last one
/// that was raised. What it changed lies behind.
#[derive(Clone, Copy, Debug)]
struct Resume {
    at: usize,
    first: usize,
}

const START: Resume = Resume { at: HEADER_BYTES, first: 0 };

/// A HyperLogLog that is being changed. Its header is right.
#[derive(Clone, Debug)]
pub struct HllBuf {
    bytes: Vec<u8>,
    resume: Resume,
}

impl Default for HllBuf {
    fn default() -> HllBuf {
        HllBuf::new()
    }
}

impl HllBuf {
    /// Of no elements: sparse, 18 bytes, with a count of 0 that is up to date.
    pub fn new() -> HllBuf {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 8);
        bytes.extend_from_slice(MAGIC);
        bytes.resize(HEADER_BYTES, 0);
        bytes[ENCODING_AT] = 1;
        let mut zeros = NewRuns { bytes: [0; 5], len: 0 };
        zeros.zeros(REGISTERS);
        bytes.extend_from_slice(zeros.as_bytes());
        HllBuf { bytes, resume: START }
    }

    /// A copy to be changed.
    pub fn copy_of(hll: Hll<'_>) -> HllBuf {
        // Room for one split, as most additions need no more.
        let mut bytes = Vec::with_capacity(hll.bytes.len() + 4);
        bytes.extend_from_slice(hll.bytes);
        HllBuf { bytes, resume: START }
    }

    /// To look at it.
    pub fn as_hll(&self) -> Hll<'_> {
        let encoding = if self.bytes[ENCODING_AT] == 0 { Encoding::Dense } else { Encoding::Sparse };
        Hll { bytes: &self.bytes, encoding }
    }

    /// The bytes to store.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Marks the stored count as out of date.
    pub fn forget_count(&mut self) {
        self.bytes[COUNT_AT + 7] |= 0x80;
    }

    /// Makes a sparse one dense. Returns whether it was sparse.
    ///
    /// # Errors
    /// Its runs are not right; nothing has changed.
    pub fn make_dense(&mut self) -> Result<bool, Corrupted> {
        if self.as_hll().encoding == Encoding::Dense {
            return Ok(false);
        }
        let mut registers = Registers::new();
        self.as_hll().merge_into(&mut registers)?;
        self.set_dense(&registers);
        Ok(true)
    }

    /// Raises every register to those of `others` where they are higher. The stored count is left as it is.
    ///
    /// # Errors
    /// Its runs are not right.
    pub fn raise_all(&mut self, others: &Registers, sparse_bytes_max: u64) -> Result<(), Corrupted> {
        self.resume = START;
        for (register, &rank) in others.0.iter().enumerate() {
            if self.as_hll().encoding == Encoding::Dense {
                let mut registers = others.clone();
                self.as_hll().merge_into(&mut registers)?;
                self.set_dense(&registers);
                break;
            }
            if rank > 0 {
                self.raise(Place { register, rank }, sparse_bytes_max)?;
            }
        }
        Ok(())
    }

    /// Counts an element. The stored count is left as it is. Returns whether a register has changed.
    ///
    /// # Errors
    /// Its runs are not right.
    pub fn add(&mut self, place: Place, sparse_bytes_max: u64) -> Result<bool, Corrupted> {
        self.resume = START;
        self.raise(place, sparse_bytes_max)
    }

    fn set_dense(&mut self, registers: &Registers) {
        self.bytes.resize(DENSE_BYTES, 0);
        self.bytes[ENCODING_AT] = 0;
        registers.pack(&mut self.bytes[HEADER_BYTES..]);
    }

    /// Raises a register, looking for it from `self.resume` on. In a sparse one the run that holds it is split, and then
    /// equal neighbours are joined among five runs from the one before: no more and no fewer, for the bytes shall be
    /// Redis's.
    fn raise(&mut self, place: Place, sparse_bytes_max: u64) -> Result<bool, Corrupted> {
        if self.as_hll().encoding == Encoding::Dense {
            let change = self.as_hll().dense_change(place);
            if let Some((at, two)) = change {
                self.bytes[at..at + 2].copy_from_slice(&two);
            }
            return Ok(change.is_some());
        }
        if place.rank > VALUE_RANK_MAX {
            return self.raise_dense(place);
        }

        let Resume { mut at, mut first } = self.resume;
        let mut before = self.resume;
        let mut two_before = self.resume;
        let run = loop {
            let run = Run::first_of(&self.bytes[at..]).ok_or(Corrupted)?;
            if place.register < first + run.len {
                break run;
            }
            (two_before, before) = (before, Resume { at, first });
            (at, first) = (at + run.bytes, first + run.len);
        };
        self.resume = two_before;
        if run.rank >= place.rank {
            return Ok(false);
        }
        let mut new = NewRuns { bytes: [0; 5], len: 0 };
        new.like(run.rank, place.register - first);
        new.values(place.rank, 1);
        new.like(run.rank, first + run.len - 1 - place.register);
        let len = self.bytes.len() - run.bytes + new.len;
        if new.len > run.bytes && len as u64 > sparse_bytes_max {
            return self.raise_dense(place);
        }
        self.bytes.splice(at..at + run.bytes, new.as_bytes().iter().copied());
        self.join_equal(before.at);
        Ok(true)
    }

    fn raise_dense(&mut self, place: Place) -> Result<bool, Corrupted> {
        self.make_dense()?;
        self.raise(place, 0)
    }

    /// Joins runs of the same value in five steps from the run at `at` on; a step either joins two or passes one.
    fn join_equal(&mut self, mut at: usize) {
        for _ in 0..5 {
            let Some(run) = Run::first_of(&self.bytes[at..]) else { return };
            let next = Run::first_of(&self.bytes[at + run.bytes..]);
            match next {
                Some(next) if run.is_value() && next.rank == run.rank && run.len + next.len <= VALUE_LEN_MAX => {
                    self.bytes[at + 1] = Run::value_byte(run.rank, run.len + next.len);
                    self.bytes.remove(at);
                }
                _ => at += run.bytes,
            }
        }
    }
}

/// Why the self test failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SelfTestFailure(pub String);

/// Checks that packing keeps registers, that sparse and dense agree, and that estimates are as close as they should be.
/// Takes some milliseconds.
///
/// # Errors
/// What did not hold.
pub fn self_test(seed: u64) -> Result<(), SelfTestFailure> {
    let fail = |what: String| Err(SelfTestFailure(what));
    let mut state = seed;
    let mut registers = Registers::new();
    for register in registers.0.iter_mut() {
        state = murmur64a(&state.to_le_bytes(), seed);
        *register = (state >> 58) as u8;
    }
    let mut dense = HllBuf::new();
    dense.set_dense(&registers);
    let mut unpacked = Registers::new();
    if dense.as_hll().merge_into(&mut unpacked).is_err() || unpacked.0 != registers.0 {
        return fail("registers change when they are packed and unpacked".to_owned());
    }

    let (mut sparse, mut dense) = (HllBuf::new(), HllBuf::new());
    let became_dense = dense.make_dense();
    let mut checkpoint = 1;
    for added in 1..=100_000_u64 {
        let place = Place::of(&(seed ^ added).to_le_bytes());
        if became_dense.and(sparse.add(place, 3000)).and(dense.add(place, 0)).is_err() {
            return fail(format!("registers are corrupted after {added} elements"));
        }
        if added != checkpoint {
            continue;
        }
        let (from_sparse, count) = (sparse.as_hll().count(), dense.as_hll().count());
        if from_sparse != count {
            return fail(format!("sparse counts {from_sparse:?} and dense {count:?} of {added} elements"));
        }
        // Six times the standard error, and one for small numbers.
        let distance = count.map_or(u64::MAX, |count| count.abs_diff(added));
        if distance > added * 6 * 81 / 10_000 + 1 {
            return fail(format!("{added} elements are counted as {count:?}"));
        }
        checkpoint *= 10;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    const SPARSE_MAX: u64 = 3000;

    fn registers_of(hll: Hll<'_>) -> Registers {
        let mut registers = Registers::new();
        hll.merge_into(&mut registers).expect("registers");
        registers
    }

    #[test]
    fn bytes_are_those_of_redis() {
        let mut hll = HllBuf::new();
        assert_eq!(hll.as_hll().stored_count(), Some(0));
        assert_eq!(hll.bytes, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
        hll.add(Place::of(b"a"), SPARSE_MAX).expect("an addition");
        hll.forget_count();
        assert_eq!(hll.bytes, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80q\xa6\x84NW");
        for element in [b"b", b"c"] {
            hll.add(Place::of(element), SPARSE_MAX).expect("an addition");
        }
        assert_eq!(&hll.bytes[16..], b"`\xf3\x80P\xb1\x84K\xfb\x80BZ");
        assert_eq!(hll.as_hll().runs_text(), "Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603");
        assert_eq!(hll.as_hll().count(), Ok(3));
    }

    #[test]
    fn sparse_and_dense_are_those_of_plain_registers() {
        let mut rng = Rng::new(1);
        for round in 0..30 {
            let sparse_max = [20, 100, SPARSE_MAX, 100_000][round % 4];
            let (mut hll, mut model) = (HllBuf::new(), Registers::new());
            for _ in 0..[10, 1_000, 5_000][round % 3] {
                let place = if round % 5 == 0 {
                    Place { register: rng.below(50), rank: 1 + rng.below(51) as u8 }
                } else {
                    Place::of(&rng.next().to_le_bytes())
                };
                let raised = place.rank > model.0[place.register];
                model.0[place.register] = model.0[place.register].max(place.rank);
                assert_eq!(hll.add(place, sparse_max), Ok(raised));
            }
            assert_eq!(registers_of(hll.as_hll()).0, model.0);
            assert_eq!(hll.as_hll().count(), Ok(model.count()));
            if hll.as_hll().encoding() == Encoding::Sparse {
                assert!(hll.bytes.len() as u64 <= sparse_max.max(18));
            }
            hll.make_dense().expect("right runs");
            assert_eq!(hll.bytes.len(), DENSE_BYTES);
            assert_eq!(registers_of(hll.as_hll()).0, model.0);
        }
    }

    #[test]
    fn raising_all_is_raising_each_from_the_start() {
        let mut rng = Rng::new(2);
        for round in 0..60 {
            let mut others = Registers::new();
            for _ in 0..[5, 300, 3_000][round % 3] {
                let place = Place::of(&rng.next().to_le_bytes());
                // Equal neighbours, so that there is something to join.
                let register = if round % 2 == 0 { place.register } else { place.register % 900 };
                others.0[register] = if round % 4 == 1 { 1 + place.rank % 2 } else { place.rank };
            }
            let mut start = HllBuf::new();
            for _ in 0..rng.below(1_000) {
                start.add(Place::of(&rng.next().to_le_bytes()), SPARSE_MAX).expect("an addition");
            }
            let (mut at_once, mut each) = (start.clone(), start);
            at_once.raise_all(&others, SPARSE_MAX).expect("right runs");
            for (register, &rank) in others.0.iter().enumerate().filter(|(_, rank)| **rank > 0) {
                each.add(Place { register, rank }, SPARSE_MAX).expect("right runs");
            }
            assert_eq!(at_once.bytes, each.bytes);
        }
    }

    #[test]
    fn wide_and_portable_merges_agree() {
        let mut rng = Rng::new(3);
        let mut registers = Registers::new();
        registers.0.iter_mut().for_each(|register| *register = rng.below(64) as u8);
        let mut packed = vec![0; REGISTERS * REGISTER_BITS / 8];
        registers.pack(&mut packed);
        let (mut wide, mut portable) = (Registers::new(), Registers::new());
        wide.merge_packed(&packed);
        merge_packed_portable(&mut *portable.0, &packed);
        assert_eq!(wide.0, registers.0);
        assert_eq!(portable.0, registers.0);
    }

    #[test]
    fn whatever_the_bytes_are_nothing_panics() {
        let mut rng = Rng::new(4);
        for _ in 0..3_000 {
            let mut hll = HllBuf::new();
            for _ in 0..rng.below(200) {
                hll.add(Place::of(&rng.next().to_le_bytes()), SPARSE_MAX).expect("an addition");
            }
            let mut bytes = hll.into_bytes();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len());
                match rng.below(3) {
                    0 => bytes[at] = rng.next() as u8,
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, rng.next() as u8),
                }
            }
            let Ok(hll) = Hll::of(&bytes) else { continue };
            let mut registers = Registers::new();
            assert_eq!(hll.merge_into(&mut registers).is_err(), hll.count().is_err());
            hll.runs_text();
            hll.stored_count();
            let mut changed = HllBuf::copy_of(hll);
            for _ in 0..20 {
                let _ = changed.add(Place::of(&rng.next().to_le_bytes()), SPARSE_MAX);
            }
            let _ = changed.raise_all(&registers, SPARSE_MAX);
            let _ = changed.make_dense();
        }
        let mut dense = vec![0xFF; DENSE_BYTES];
        dense[..5].copy_from_slice(b"HYLL\0");
        assert_eq!(Hll::of(&dense).map(|hll| hll.count()), Ok(Ok(STALE_BIT)));
        dense.push(0);
        assert!(Hll::of(&dense).is_err());
    }

    #[test]
    fn the_self_test_passes() {
        assert_eq!(self_test(1), Ok(()));
    }
}
