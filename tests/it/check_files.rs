//! `weir check-rdb`: what it says of whole and of spoilt snapshots, and what it can save of them.

use crate::weir::{Start, Weir, run};
use std::fs;
use std::path::Path;

fn check(args: &[&str]) -> (bool, String) {
    let output = run(["check-rdb"].into_iter().chain(args.iter().copied()), "");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A folder with a snapshot of five keys, `packed` in the form of a listpack.
fn snapshot() -> tempfile::TempDir {
    let weir = Weir::with(["--rdbcompression", "no"]);
    let mut wire = weir.wire();
    for request in
        ["SET text hello", "SET timed v EX 4999", "HSET packed field value", "SADD words a b", "ZADD scores 1 a"]
    {
        assert!(!wire.run(request).starts_with('-'), "{request}");
    }
    weir.stop()
}

fn path_in(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[test]
fn a_whole_snapshot_is_fine_and_its_figures_are_told() {
    let folder = snapshot();
    let (ok, said) = check(&[&path_in(folder.path(), "dump.rdb"), "--stats"]);
    assert!(ok, "{said}");
    for line in ["Checksum OK", "RDB looks OK!", "[info] 5 keys read", "[info] 1 expires", "[info] 0 already expired"] {
        assert!(said.contains(line), "{line} in\n{said}");
    }
    let elements = said.lines().find(|line| line.starts_with("db.0.elements.total")).expect("a line of figures");
    let figures: Vec<&str> = elements.split_whitespace().skip(1).collect();
    assert_eq!(figures[..6], ["2", "0", "2", "1", "1", "0"], "strings, lists, sets, sorted sets, hashes, streams");
    assert_eq!(figures[6..], ["0", "0", "0"], "queues, exchanges, stores");
}

#[test]
fn queues_exchanges_and_stores_are_known() {
    let weir = Weir::with(["--rdbcompression", "no"]);
    let mut wire = weir.wire();
    for request in [
        "MQ.QUEUE DECLARE q",
        "MQ.EXCHANGE DECLARE e TYPE fanout",
        "MQ.BIND e QUEUE q x",
        "MQ.PUB e x body",
        "CFG.PUT store /a 1",
        "CFG.PUT store /b 1",
        "CFG.PUT store /a 2",
    ] {
        assert!(!wire.run(request).starts_with('-'), "{request}");
    }
    let folder = weir.stop();
    let (ok, said) = check(&[&path_in(folder.path(), "dump.rdb"), "--stats"]);
    assert!(ok && said.contains("[info] 3 keys read"), "{said}");
    let elements = said.lines().find(|line| line.starts_with("db.0.elements.total")).expect("a line of figures");
    let figures: Vec<&str> = elements.split_whitespace().skip(7).collect();
    assert_eq!(figures, ["1", "1", "2"], "a message, a binding, two paths");
}

#[test]
fn a_snapshot_cut_anywhere_is_refused_with_the_place_and_what_was_read_is_told() {
    let folder = snapshot();
    let whole = fs::read(folder.path().join("dump.rdb")).expect("a snapshot");
    let cut = path_in(folder.path(), "cut.rdb");
    for len in (0..whole.len()).step_by(7) {
        fs::write(&cut, &whole[..len]).expect("a file");
        let (ok, said) = check(&[&cut]);
        assert!(!ok && said.contains("--- RDB ERROR DETECTED ---"), "{len} bytes:\n{said}");
        assert!(said.contains(&format!("[offset {len}] ")) && said.contains(" keys read"), "{len} bytes:\n{said}");
    }
    let mut spoilt = whole.clone();
    spoilt[whole.len() - 1] ^= 1;
    for (bytes, doing) in
        [(&whole[..whole.len() - 3], "check-sum"), (&spoilt[..], "check-sum"), (&whole[..9], "read-type")]
    {
        fs::write(&cut, bytes).expect("a file");
        let (ok, said) = check(&[&cut]);
        assert!(!ok && said.contains(&format!("While doing: {doing}\n")), "{said}");
    }
    let (ok, said) = check(&[&path_in(folder.path(), "none.rdb")]);
    assert!(!ok && said.contains("Cannot open"), "{said}");
    let (ok, said) = check(&[&folder.path().display().to_string()]);
    assert!(!ok && said.contains("it is a folder"), "{said}");
}

#[test]
fn what_producers_have_sent_is_read_and_saved() {
    let weir = Weir::with(["--rdbcompression", "no"]);
    let mut wire = weir.wire();
    for request in ["XADD sent IDMP producer message * f v", "SET text hello"] {
        assert!(!wire.call(&request.split(' ').collect::<Vec<_>>()).starts_with('-'), "{request}");
    }
    let id = wire.call(&["XADD", "sent", "IDMP", "producer", "message", "*", "f", "v"]);
    let folder = weir.stop();
    let whole = path_in(folder.path(), "dump.rdb");
    let saved = path_in(folder.path(), "saved.rdb");
    let (ok, said) = check(&[&whole, "--salvage", &saved]);
    assert!(ok && said.contains("2 keys and 0 functions saved"), "{said}");
    assert!(fs::read(&saved).expect("a file").starts_with(b"REDIS0013"));
    let mut bytes = fs::read(&whole).expect("a snapshot");
    // A message without a name.
    let at = bytes.windows(7).position(|window| window == b"message").expect("it is there") - 1;
    bytes[at] = 0;
    bytes.drain(at + 1..at + 8);
    fs::write(&whole, &bytes).expect("a file");
    let (ok, said) = check(&[&whole]);
    assert!(!ok && said.contains("Reading key 'sent'") && said.contains("(stream-v4)"), "{said}");
    let weir = Start::new().folder(folder).options(["--dbfilename", "saved.rdb"]).start();
    let mut wire = weir.wire();
    assert_eq!(wire.call(&["XADD", "sent", "IDMP", "producer", "message", "*", "f", "v"]), id);
}

#[test]
fn what_is_saved_of_a_spoilt_snapshot_lacks_only_the_spoilt_key() {
    let folder = snapshot();
    let spoilt = path_in(folder.path(), "dump.rdb");
    let mut bytes = fs::read(&spoilt).expect("a snapshot");
    let field = bytes.windows(5).position(|window| window == b"field").expect("the listpack");
    // The length of the field in its listpack.
    bytes[field - 1] ^= 1;
    fs::write(&spoilt, &bytes).expect("a file");
    let (ok, said) = check(&[&spoilt]);
    assert!(!ok && said.contains("Reading key 'packed'") && said.contains("(hash-listpack)"), "{said}");
    let saved = path_in(folder.path(), "saved.rdb");
    let (ok, said) = check(&[&spoilt, "--salvage", &saved]);
    assert!(!ok && said.contains("Lost: key 'packed'") && said.contains("4 keys and 0 functions saved"), "{said}");
    assert_eq!(fs::read(&spoilt).expect("the file"), bytes, "it is left as it is");
    assert!(check(&[&saved]).0);
    let (ok, said) = check(&[&spoilt, "--salvage", &saved]);
    assert!(!ok && said.contains("Nothing was saved"), "nothing is overwritten: {said}");
    let weir = Start::new().folder(folder).options(["--dbfilename", "saved.rdb"]).start();
    let mut wire = weir.wire();
    wire.is("EXISTS text timed packed words scores", ":4");
    assert!(wire.run("TTL timed").starts_with(":4"));
}
