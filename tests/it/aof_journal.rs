//! The journal that stands in for the end of the append-only file with `appendfsync always`: what is there after the machine
//! was switched off, which a test does by cutting the file off where the disk may have had it.

use crate::weir::{Start, Weir, eventually, run};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use weir_structs::crc64::crc64;

fn start(folder: TempDir) -> Start {
    Start::appending("always").folder(folder)
}

fn journal(folder: &Path) -> PathBuf {
    folder.join("appendonlydir/appendonly.aof.journal")
}

fn increment(folder: &Path) -> PathBuf {
    let names = fs::read_dir(folder.join("appendonlydir")).expect("the folder");
    let increments = names.filter_map(|entry| Some(entry.ok()?.path()));
    increments.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max().expect("an increment")
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// The journal as if it was written before the machine was switched off and on: every record says when that was.
fn switch_machine_off(folder: &Path) {
    let path = journal(folder);
    let mut bytes = fs::read(&path).expect("a journal");
    let mut records = 0;
    for block in 0..bytes.len() / 4096 {
        let record = &mut bytes[block * 4096..];
        if !record.starts_with(b"WEIRJNL1") {
            continue;
        }
        let end = 56 + number(&record[48..52]) + number(&record[52..56]);
        record[24] ^= 1;
        let checksum = crc64(0, &record[16..end]);
        record[8..16].copy_from_slice(&checksum.to_le_bytes());
        records += 1;
    }
    assert!(records > 0, "nothing in the journal");
    fs::write(path, bytes).expect("a writable folder");
}

/// Writes until rounds go to the journal, and some more behind that. Returns how many bytes the last increment had before, which
/// are on disk in it.
fn fill(weir: &Weir) -> u64 {
    let mut wire = weir.wire();
    let mut n = 0;
    eventually("there is a journal", || {
        n += 1;
        assert_eq!(wire.run(&format!("SET before:{n} v")), "+OK");
        weir.info("aof_journal_active") == 1
    });
    let len = fs::metadata(increment(weir.dir())).expect("the file").len();
    for n in 0..300 {
        assert_eq!(wire.run(&format!("SET key:{n} {n}")), "+OK");
    }
    wire.run("DEL a b");
    for (request, reply) in [("MULTI", "+OK"), ("INCR a", "+QUEUED"), ("INCR b", "+QUEUED"), ("EXEC", "*2 :1 :1")] {
        wire.is(request, reply);
    }
    len
}

#[test]
fn what_was_acknowledged_is_there_after_the_machine_was_switched_off() {
    for share in [0, 1, 2, 3] {
        let weir = start(TempDir::new().expect("a temporary folder")).start();
        let on_disk = fill(&weir);
        let digest = weir.wire().run("DEBUG DIGEST");
        let folder = weir.killed();
        let path = increment(folder.path());
        let len = fs::metadata(&path).expect("the file").len();
        // Anywhere behind what the file was forced to disk with: in the middle of commands too.
        let left = on_disk + (len - on_disk) * share / 3;
        File::options().write(true).open(&path).and_then(|file| file.set_len(left)).expect("a writable file");
        switch_machine_off(folder.path());
        let weir = start(folder).start();
        assert_eq!(weir.wire().run("DEBUG DIGEST"), digest, "{left} of {len}");
        assert_eq!(fs::metadata(&path).expect("the file").len(), len);
        assert_eq!(weir.log().contains("were put back from its journal"), left < len);
        // And it goes on.
        weir.wire().is("SET more 1", "+OK");
        let digest = weir.wire().run("DEBUG DIGEST");
        let weir = start(weir.killed()).start();
        assert_eq!(weir.wire().run("DEBUG DIGEST"), digest);
    }
}

#[test]
fn whoever_cuts_the_file_off_after_a_kill_gets_what_is_left() {
    let weir = start(TempDir::new().expect("a temporary folder")).start();
    fill(&weir);
    let digest = weir.wire().run("DEBUG DIGEST");
    let path = increment(weir.dir());
    let len = fs::metadata(&path).expect("the file").len();
    weir.wire().is("FLUSHALL", "+OK");
    let folder = weir.killed();
    File::options().write(true).open(&path).and_then(|file| file.set_len(len)).expect("a writable file");
    let weir = start(folder).start();
    assert_eq!(weir.wire().run("DEBUG DIGEST"), digest);
}

#[test]
fn a_server_that_ends_leaves_no_journal_and_one_that_may_not_have_one_makes_none() {
    let weir = start(TempDir::new().expect("a temporary folder")).start();
    fill(&weir);
    let path = journal(weir.dir());
    assert!(path.exists());
    weir.wire().is("CONFIG SET appendonly no", "+OK");
    assert!(!path.exists());
    weir.wire().is("CONFIG SET appendonly yes", "+OK");
    eventually("it is written again", || weir.info("aof_rewrite_in_progress") == 0);
    fill(&weir);
    assert!(path.exists());
    let folder = weir.stop();
    assert!(!path.exists());
    let weir = start(folder).options(["--aof-journal-size", "0"]).start();
    for n in 0..100 {
        weir.wire().is(&format!("SET key:{n} v"), "+OK");
    }
    assert_eq!((weir.info("aof_journal_active"), path.exists()), (0, false));
}

#[test]
fn going_back_in_time_is_not_undone_by_the_journal() {
    let weir = start(TempDir::new().expect("a temporary folder")).options(["--aof-timestamp-enabled", "yes"]).start();
    weir.wire().is("SET long ago", "+OK");
    let second: u64 = weir.wire().run("TIME").split(' ').nth(2).and_then(|word| word.parse().ok()).expect("the time");
    eventually("a second has gone by", || {
        let now = weir.wire().run("TIME");
        now.split(' ').nth(2).and_then(|word| word.parse::<u64>().ok()).is_some_and(|now| now > second)
    });
    fill(&weir);
    let folder = weir.killed();
    switch_machine_off(folder.path());
    let manifest = folder.path().join("appendonlydir/appendonly.aof.manifest");
    let manifest = manifest.to_str().expect("a path of ASCII");
    let told = |words: &[&str]| String::from_utf8_lossy(&run(words.iter().copied(), "").stdout).into_owned();
    let checked = told(&["check-aof", manifest]);
    assert!(checked.contains("There is a journal"), "{checked}");
    let cut = told(&["check-aof", "--truncate-to-timestamp", &second.to_string(), manifest]);
    assert!(cut.contains("Successfully truncated AOF"), "{cut}");
    let weir = start(folder).start();
    weir.wire().is("KEYS *", "*1 $4 long");
}

#[test]
fn a_journal_that_cannot_be_read_is_told_before_anything_is_lost() {
    let weir = start(TempDir::new().expect("a temporary folder")).start();
    weir.wire().is("SET key v", "+OK");
    let folder = weir.stop();
    fs::create_dir(journal(folder.path())).expect("a writable folder");
    let (_, log) = start(folder).fail();
    assert!(log.contains("appendonly.aof.journal cannot be used: is a directory"), "{log}");
}
