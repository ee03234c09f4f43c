//! A file that stands in for the end of the append-only file where every reply waits for the disk.
//!
//! Forcing a file to disk that has grown takes the disk more than its bytes: the file system has to force its new length
//! there too, through a journal of its own. A file that is written in place, at a length that it has had for long, costs the
//! bytes alone, which is about half as much. So what a round is to force to disk is written to the append-only file as
//! ever, where every reader finds it, and once more here, where it is on disk at once. The append-only file follows
//! within a second; what it lacks after the machine was switched off is put back from here at the next start ([`restore`]).
//! A process that is killed leaves nothing to be put back.
//!
//! ```text
//!   ┌──────────── half ────────────┬──────────── half ────────────┐
//!   │ record │ record │ ...        │ record │ ...                 │     records begin at multiples of 4 KiB
//!   └──────────────────────────────┴──────────────────────────────┘
//!   record: magic, checksum of all behind it, sequence, boot, offset, length of name and of bytes; name; bytes
//! ```
//!
//! A half is written anew when the append-only file is on disk as far as the records in it reach ([`Journal::settled`]).
//! Sequences count up, so what is left of an earlier pass is told from what follows.
//!
//! What must stay true: bytes that are in a record are in the append-only file, at that offset, for good; and whatever was
//! acknowledged is on disk in one of the two.

use crate::disk::{Disk, InPlaceFile};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use weir_structs::crc64::crc64;

const MAGIC: &[u8; 8] = b"WEIRJNL1";
/// Records begin at multiples of this: what is on disk already is not written again with what follows it.
const BLOCK_BYTES: usize = 4096;
/// Bytes in front of the name.
const HEADER_BYTES: usize = 56;
/// Largest file.
pub(super) const JOURNAL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Memory that an empty buffer keeps.
const BUFFER_KEEP_BYTES: usize = 1024 * 1024;
/// Stands for a run of the machine that is not known: what was written in it is put back in any case.
const UNKNOWN_BOOT: u128 = 0;

/// A journal that is being written.
pub(super) struct Journal {
    file: Box<dyn InPlaceFile>,
    half_bytes: u64,
    boot: u128,
    /// The half that records go to, and bytes that are taken there.
    half: usize,
    used: u64,
    /// Of the next record; the first is 1.
    sequence: u64,
    /// Sequence of the last record in each half; 0 if there is none.
    last: [u64; 2],
    /// The append-only file is on disk as far as this record reaches.
    settled: u64,
    buffer: Vec<u8>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("sequence", &self.sequence)
            .field("settled", &self.settled)
            .finish_non_exhaustive()
    }
}

/// Whether a record was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    /// It is on disk. `turned`: it is the first in its half, so the records of the other half are to be settled.
    Written {
        /// See above.
        turned: bool,
    },
    /// There is no room before the records of the other half are settled.
    None,
}

impl Journal {
    /// Makes the file, of `bytes` bytes, in place of one that is there. Waits until all of it is on disk.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn make(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<Journal> {
        let half_bytes = bytes / 2 / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        let file = disk.in_place(path, 2 * half_bytes)?;
        Ok(Journal {
            file,
            half_bytes,
            boot: disk.boot(),
            half: 0,
            used: 0,
            sequence: 1,
            last: [0; 2],
            settled: 0,
            buffer: Vec::new(),
        })
    }

    /// Writes that `bytes` stand at `offset` of the file `name`. On disk when this returns. Costs one write in place, and
    /// a checksum over the bytes.
    ///
    /// # Errors
    /// Those of the file system. The journal is not to be used any more then; what it has is still right.
    pub(super) fn write(&mut self, name: &[u8], offset: u64, bytes: &[u8]) -> io::Result<Room> {
        self.write_for(self.boot, name, offset, bytes)
    }

    /// What was written has to be put back even if the machine is not switched off: the system may have dropped it.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn distrust(&mut self, name: &[u8], offset: u64) -> io::Result<Room> {
        self.write_for(UNKNOWN_BOOT, name, offset, b"")
    }

    fn write_for(&mut self, boot: u128, name: &[u8], offset: u64, bytes: &[u8]) -> io::Result<Room> {
        let (Ok(name_len), Ok(bytes_len)) = (u32::try_from(name.len()), u32::try_from(bytes.len())) else {
            return Ok(Room::None);
        };
        let len = (HEADER_BYTES + name.len() + bytes.len()).next_multiple_of(BLOCK_BYTES);
        let mut turned = false;
        if self.used + len as u64 > self.half_bytes {
            let other = 1 - self.half;
            if self.last.get(other).is_none_or(|&last| last > self.settled) || len as u64 > self.half_bytes {
                return Ok(Room::None);
            }
            (self.half, self.used, turned) = (other, 0, true);
        }
        let mut record = std::mem::take(&mut self.buffer);
        record.extend_from_slice(MAGIC);
        record.extend_from_slice(&[0; 8]);
        record.extend_from_slice(&self.sequence.to_le_bytes());
        record.extend_from_slice(&boot.to_le_bytes());
        record.extend_from_slice(&offset.to_le_bytes());
        record.extend_from_slice(&name_len.to_le_bytes());
        record.extend_from_slice(&bytes_len.to_le_bytes());
        record.extend_from_slice(name);
        record.extend_from_slice(bytes);
        let checksum = crc64(0, record.get(16..).unwrap_or_default());
        record.splice(8..16, checksum.to_le_bytes());
        record.resize(len, 0);
        let written = self.file.write_at(&record, self.half as u64 * self.half_bytes + self.used);
        record.clear();
        record.shrink_to(BUFFER_KEEP_BYTES);
        self.buffer = record;
        written?;
        self.used += len as u64;
        if let Some(last) = self.last.get_mut(self.half) {
            *last = self.sequence;
        }
        self.sequence += 1;
        Ok(Room::Written { turned })
    }

    /// Sequence of the last record; 0 if there is none.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence - 1
    }

    /// The append-only file is on disk as far as the record with this sequence reaches.
    pub(super) fn settle(&mut self, sequence: u64) {
        self.settled = self.settled.max(sequence);
    }
}

/// A record that was read.
#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    sequence: u64,
    boot: u128,
    offset: u64,
    name: &'a [u8],
    bytes: &'a [u8],
    /// Bytes that it takes in the file.
    len: usize,
}

/// The record that `at` begins with, if it is whole.
fn record(at: &[u8]) -> Option<Record<'_>> {
    let (header, rest) = at.split_first_chunk::<HEADER_BYTES>()?;
    let mut fields = header.chunks_exact(8).map(|field| field.try_into().map_or(0, u64::from_le_bytes));
    let mut field = || fields.next().unwrap_or_default();
    let (magic, checksum, sequence) = (field(), field(), field());
    let boot = u128::from(field()) | u128::from(field()) << 64;
    let (offset, lengths) = (field(), field());
    let name_len = (lengths & u64::from(u32::MAX)) as usize;
    let bytes_len = (lengths >> 32) as usize;
    if magic != u64::from_le_bytes(*MAGIC) {
        return None;
    }
    let name = rest.get(..name_len)?;
    let bytes = rest.get(name_len..)?.get(..bytes_len)?;
    let end = HEADER_BYTES + name_len + bytes_len;
    let whole = crc64(0, at.get(16..end)?) == checksum;
    whole.then_some(Record { sequence, boot, offset, name, bytes, len: end.next_multiple_of(BLOCK_BYTES) })
}

/// The records of a half, from its beginning to the first that does not follow.
fn records(half: &[u8]) -> Vec<Record<'_>> {
    let mut found: Vec<Record<'_>> = Vec::new();
    let mut at = 0;
    while let Some(next) = half.get(at..).and_then(record) {
        if found.last().is_some_and(|last| next.sequence != last.sequence.wrapping_add(1)) {
            break;
        }
        at += next.len;
        found.push(next);
    }
    found
}

/// All records that follow each other, the last one that was written at the end.
fn chain(journal: &[u8]) -> Vec<Record<'_>> {
    let (first, second) = journal.split_at(journal.len() / 2);
    let (mut older, mut newer) = (records(first), records(second));
    let begins = |records: &[Record<'_>]| records.first().map(|record| record.sequence);
    if begins(&older) > begins(&newer) {
        std::mem::swap(&mut older, &mut newer);
    }
    // Where they do not follow each other, the older half is being written anew and only its beginning is left.
    let follows = older.last().is_some_and(|last| begins(&newer) == last.sequence.checked_add(1));
    if !follows {
        return newer;
    }
    older.append(&mut newer);
    older
}

/// What was put back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Restored {
    /// Bytes.
    pub(super) bytes: u64,
    /// A file is not what it was when the journal was written: somebody else has changed it, and it was left as it is.
    pub(super) changed: bool,
}

/// Puts back what is in the journal at `path` and not in the files that it speaks of, as far as these are among `names` in
/// `folder`; then removes it. Nothing is to be put back while the machine has not been switched off. Costs memory for the
/// whole journal.
///
/// # Errors
/// Those of the file system. The journal is still there then.
pub(super) fn restore(disk: &dyn Disk, path: &Path, folder: &Path, names: &[&[u8]]) -> io::Result<Restored> {
    let file = match disk.open(path, 0) {
        Ok((file, _)) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Restored::default()),
        Err(error) => return Err(error),
    };
    let mut journal = Vec::new();
    file.take(JOURNAL_BYTES_MAX).read_to_end(&mut journal)?;
    let chain = chain(&journal);
    let mut restored = Restored::default();
    let boot = disk.boot();
    if chain.last().is_some_and(|last| last.boot != boot || boot == UNKNOWN_BOOT) {
        for name in names {
            let of_file: Vec<_> = chain.iter().filter(|record| record.name == *name).collect();
            restore_file(disk, &folder.join(OsStr::from_bytes(name)), &of_file, &mut restored)?;
        }
    }
    disk.remove(path)?;
    disk.sync_folder(folder)?;
    Ok(restored)
}

/// Puts back what one file lacks.
fn restore_file(disk: &dyn Disk, path: &Path, records: &[&Record<'_>], restored: &mut Restored) -> io::Result<()> {
    let Some(first) = records.first() else { return Ok(()) };
    let (mut inner, mut len) = disk.open(path, first.offset)?;
    let mut tail = Vec::new();
    // No more than the records speak of; the rest is looked at only where something is wrong.
    let end = records.iter().map(|record| record.offset + record.bytes.len() as u64).max().unwrap_or(0);
    (&mut inner).take(end.saturating_sub(first.offset)).read_to_end(&mut tail)?;
    let begin = first.offset;
    let mut file = disk.append(path)?;
    let mut any = false;
    for record in records {
        if record.offset > len || record.offset < begin {
            restored.changed = true;
            break;
        }
        let there = usize::try_from(record.offset - begin).ok().and_then(|from| tail.get(from..)).unwrap_or_default();
        let common = there.len().min(record.bytes.len());
        let same = there.iter().zip(record.bytes).take_while(|(there, here)| there == here).count();
        let missing = record.bytes.get(same..).unwrap_or_default();
        if same < common {
            // Some file systems have a file end in zeros that had not come to the disk.
            let from_here = there.get(same..).unwrap_or_default();
            let mut rest = Vec::new();
            (&mut inner).take(JOURNAL_BYTES_MAX).read_to_end(&mut rest)?;
            if from_here.iter().chain(&rest).any(|&byte| byte != 0) {
                restored.changed = true;
                break;
            }
            len = record.offset + same as u64;
            tail.truncate(usize::try_from(len - begin).unwrap_or(usize::MAX));
            file.set_len(len)?;
        } else if common == record.bytes.len() {
            continue;
        }
        file.write_all(missing)?;
        len += missing.len() as u64;
        restored.bytes += missing.len() as u64;
        tail.extend_from_slice(missing);
        any = true;
    }
    if any { file.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faults::{FaultyDisk, Survives};

    const PATH: &str = "journal";
    const NAMES: &[&[u8]] = &[b"a", b"b"];

    fn journal(disk: &FaultyDisk, bytes: u64) -> Journal {
        Journal::make(disk, Path::new(PATH), bytes).expect("a healthy disk")
    }

    fn restored(disk: &FaultyDisk) -> Restored {
        restore(disk, Path::new(PATH), Path::new(""), NAMES).expect("a healthy disk")
    }

    fn contents(disk: &FaultyDisk, name: &str) -> Vec<u8> {
        disk.contents(name).expect("the file is there")
    }

    #[test]
    fn what_a_file_lacks_is_put_back_once() {
        let disk = FaultyDisk::new();
        disk.put("a", b"one ");
        let mut journal = journal(&disk, 64 * 1024);
        journal.write(b"a", 0, b"one ").expect("a healthy disk");
        journal.write(b"a", 4, b"two ").expect("a healthy disk");
        journal.write(b"a", 8, b"three ").expect("a healthy disk");
        let disk = disk.restarted(Survives::Nothing);
        assert_eq!(restored(&disk), Restored { bytes: 10, changed: false });
        assert_eq!(contents(&disk, "a"), b"one two three ");
        assert_eq!(disk.contents(PATH), None);
        assert_eq!(restored(&disk), Restored::default());
        // It was forced to disk.
        assert_eq!(contents(&disk.restarted(Survives::Nothing), "a"), b"one two three ");
    }

    #[test]
    fn nothing_is_put_back_where_the_machine_was_not_switched_off() {
        let disk = FaultyDisk::new();
        disk.put("a", b"");
        journal(&disk, 64 * 1024).write(b"a", 0, b"FLUSHALL").expect("a healthy disk");
        assert_eq!(restored(&disk), Restored::default());
        assert_eq!((contents(&disk, "a"), disk.contents(PATH)), (Vec::new(), None));
    }

    #[test]
    fn what_the_system_may_have_dropped_is_put_back_in_any_case() {
        let disk = FaultyDisk::new();
        disk.put("a", b"");
        let mut journal = journal(&disk, 64 * 1024);
        journal.write(b"a", 0, b"one").expect("a healthy disk");
        journal.distrust(b"a", 3).expect("a healthy disk");
        assert_eq!(restored(&disk), Restored { bytes: 3, changed: false });
        assert_eq!(contents(&disk, "a"), b"one");
    }

    #[test]
    fn a_file_that_somebody_else_has_changed_is_left_as_it_is() {
        for (there, expected) in [
            // Written to at the end by another server, which had found less.
            (&b"one other"[..], &b"one other"[..]),
            // Cut off.
            (b"", b""),
            (b"on\0", b"on\0"),
            // Not changed, but not all of it had come to the disk.
            (b"one t\0\0\0\0\0", b"one two three"),
            (b"one two\0", b"one two three"),
            (b"one two three and more", b"one two three and more"),
        ] {
            let disk = FaultyDisk::new();
            disk.put("a", there);
            let mut journal = journal(&disk, 64 * 1024);
            journal.write(b"a", 4, b"two").expect("a healthy disk");
            journal.write(b"a", 7, b" three").expect("a healthy disk");
            journal.write(b"gone", 0, b"of a file that is no part any more").expect("a healthy disk");
            disk.boot_anew();
            let restored = restored(&disk);
            assert_eq!(contents(&disk, "a"), expected, "{}", there.escape_ascii());
            assert_eq!(restored.changed, there == expected && there.len() < 20, "{}", there.escape_ascii());
        }
    }

    #[test]
    fn halves_take_turns_and_wait_until_they_are_settled() {
        let disk = FaultyDisk::new();
        disk.put("a", b"");
        // Two records a half.
        let mut journal = journal(&disk, 4 * BLOCK_BYTES as u64);
        let turned = |turned| Room::Written { turned };
        let mut offset = 0;
        let mut write = |journal: &mut Journal| {
            offset += 1;
            journal.write(b"a", offset - 1, &[b'a' + (offset as u8 - 1) % 26]).expect("a healthy disk")
        };
        assert_eq!([(); 4].map(|()| write(&mut journal)), [turned(false), turned(false), turned(true), turned(false)]);
        assert_eq!(write(&mut journal), Room::None);
        journal.settle(1);
        offset -= 1;
        let mut write = |journal: &mut Journal| {
            offset += 1;
            journal.write(b"a", offset - 1, &[b'a' + (offset as u8 - 1) % 26]).expect("a healthy disk")
        };
        assert_eq!(write(&mut journal), Room::None, "one of two is settled");
        journal.settle(2);
        assert_eq!(journal.write(b"a", 4, b"e").expect("a healthy disk"), turned(true));
        // The first half has one new record and one that is old; the file has what was settled.
        disk.put("a", b"ab");
        disk.boot_anew();
        assert_eq!(restored(&disk).bytes, 3);
        assert_eq!(contents(&disk, "a"), b"abcde");
        assert_eq!(journal.write(b"a", 5, &[0; 3 * BLOCK_BYTES]).expect("a healthy disk"), Room::None, "too long");
    }

    #[test]
    fn files_of_before_and_after_a_switch_are_both_put_back() {
        let disk = FaultyDisk::new();
        disk.put("a", b"x");
        disk.put("b", b"");
        let mut journal = journal(&disk, 64 * 1024);
        journal.write(b"a", 1, b"one").expect("a healthy disk");
        journal.write(b"b", 0, b"two").expect("a healthy disk");
        disk.boot_anew();
        assert_eq!(restored(&disk).bytes, 6);
        assert_eq!((contents(&disk, "a"), contents(&disk, "b")), (b"xone".to_vec(), b"two".to_vec()));
    }

    #[test]
    fn no_spoilt_journal_puts_back_anything_but_a_beginning_of_what_was_written() {
        let disk = FaultyDisk::new();
        let mut journal = journal(&disk, 8 * BLOCK_BYTES as u64);
        let mut all = Vec::new();
        for number in 0..7_u8 {
            let bytes = vec![b'a' + number; 1000 + usize::from(number)];
            journal.settle(u64::from(number).saturating_sub(4));
            journal.write(b"a", all.len() as u64, &bytes).expect("a healthy disk");
            all.extend(bytes);
        }
        let whole = contents(&disk, PATH);
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap_or(0) % below
        };
        let mut seen = [0; 8];
        for _ in 0..3_000 {
            let mut spoilt = whole.clone();
            for _ in 0..=random(2) {
                // Mostly where something is said.
                let within = if random(2) == 0 { HEADER_BYTES } else { 1100 };
                let at = random(8) * BLOCK_BYTES + random(within);
                match random(3) {
                    0 => spoilt[at] ^= 1 << random(8),
                    1 => spoilt[at..at + 4].copy_from_slice(&[0xFF; 4]),
                    _ => spoilt.truncate(at.max(1)),
                }
                if spoilt.len() < whole.len() {
                    break;
                }
            }
            let disk = FaultyDisk::new();
            disk.put("a", &all[..3000]);
            disk.put(PATH, &spoilt);
            disk.boot_anew();
            let restored = restored(&disk);
            let there = contents(&disk, "a");
            assert!(all.starts_with(&there) && there.len() as u64 == 3000 + restored.bytes);
            seen[(there.len() - 3000) / 700] += 1;
        }
        assert!(seen[0] > 0 && seen[5] > 0, "{seen:?}");
    }
}
