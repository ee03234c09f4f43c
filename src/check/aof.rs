//! `check-aof`: reads an append-only file as the server would, without running it, and says up to where it is whole.
//!
//! Given a manifest, it goes through all the files that this names; only the last of them may be cut off, for what stands
//! in the others is the ground of what follows. With `--fix` the end that is not whole is cut off, when somebody agrees; with
//! `--truncate-to-timestamp` everything from the first timestamp behind that moment on, and the journal of the last file goes.

use super::rdb;
use crate::disk::{Disk, RealDisk};
use crate::persist::aof::{CommandReader, Item, Manifest, Part, PartKind, ReadProblem};
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use weir_resp::Batch;

const USAGE: &str = "Usage: weir check-aof [--fix|--truncate-to-timestamp TIMESTAMP] FILE.manifest|FILE.aof\n\n  \
    --fix                              cut off what is not whole, after asking\n  \
    --truncate-to-timestamp TIMESTAMP  cut off what was written after that time, in Unix seconds";
/// A manifest has fewer bytes.
const MANIFEST_BYTES: u64 = 16 << 20;

/// Runs the tool with the words behind its name.
pub(super) fn run(args: &[OsString], now_ms: i64) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(told) => {
            println!("{told}");
            return ExitCode::FAILURE;
        }
    };
    match check(&options, now_ms) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refused) => ExitCode::FAILURE,
    }
}

struct Options {
    file: PathBuf,
    fix: bool,
    until_s: Option<i64>,
}

impl Options {
    /// What is wrong with the words, otherwise.
    fn parse(args: &[OsString]) -> Result<Options, &'static str> {
        let (mut file, mut fix, mut until_s) = (None, false, None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--fix") => fix = true,
                Some("--truncate-to-timestamp") => {
                    let told = args.next().ok_or(USAGE)?.to_str().and_then(|told| told.parse().ok());
                    until_s = Some(told.ok_or("Invalid timestamp, aborting...")?);
                }
                Some(option) if option.starts_with("--") => return Err(USAGE),
                _ if file.is_some() => return Err(USAGE),
                _ => file = Some(PathBuf::from(arg)),
            }
        }
        // One cuts what is broken, the other what is whole.
        if fix && until_s.is_some() {
            return Err(USAGE);
        }
        Ok(Options { file: file.ok_or(USAGE)?, fix, until_s })
    }
}

/// It is not well, or could not be made so; that was told.
struct Refused;

fn check(options: &Options, now_ms: i64) -> Result<(), Refused> {
    let path = &options.file;
    let begins = beginning(path).map_err(|error| {
        println!("Cannot open file {}: {error}", path.display());
        Refused
    })?;
    if !is_manifest(&begins) {
        println!("Start checking Old-Style AOF");
        let outcome = check_file(path, options, true, now_ms)?;
        outcome.tell("", &name(path), options);
        return Ok(());
    }
    println!("Start checking Multi Part AOF");
    let manifest = read_manifest(path)?;
    let parts: Vec<&Part> = manifest.loaded().collect();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut increments_begun = false;
    for (at, part) in parts.iter().enumerate() {
        let file = part.path(folder);
        let is_base = part.kind == PartKind::Base;
        // As for the server, what is empty is as good as not there.
        let is_empty = |part: &&Part| fs::metadata(part.path(folder)).is_ok_and(|facts| facts.len() == 0);
        let is_last = parts.iter().skip(at + 1).all(|part| !is_base && is_empty(part));
        let kind = if is_base {
            let form = if is_snapshot(&beginning(&file).unwrap_or_default()) { "RDB" } else { "RESP" };
            println!("Start to check BASE AOF ({form} format).");
            "BASE "
        } else {
            if !std::mem::replace(&mut increments_begun, true) {
                println!("Start to check INCR files.");
            }
            "INCR "
        };
        let outcome = check_file(&file, options, is_last, now_ms)?;
        outcome.tell(kind, &name(&file), options);
    }
    look_at_journal(path, options)?;
    println!("All AOF files and manifest are valid");
    Ok(())
}

/// What is in the journal and not in the files is put back by the next start, unless it was cut off on purpose.
fn look_at_journal(manifest: &Path, options: &Options) -> Result<(), Refused> {
    let path = manifest.with_extension("journal");
    if !path.exists() {
        return Ok(());
    }
    if options.until_s.is_none() {
        println!(
            "There is a journal {}: what the last file lacks is put back from it by the next start",
            path.display()
        );
        return Ok(());
    }
    fs::remove_file(&path).map_err(|error| {
        println!("Cannot remove the journal {}, which the next start would use: {error}", path.display());
        Refused
    })
}

fn read_manifest(path: &Path) -> Result<Manifest, Refused> {
    let mut text = Vec::new();
    let read = RealDisk.open(path, 0).and_then(|(file, _)| file.take(MANIFEST_BYTES).read_to_end(&mut text));
    if let Err(error) = read {
        println!("Cannot open file {}: {error}", path.display());
        return Err(Refused);
    }
    Manifest::parse(&text).map_err(|error| {
        println!("Invalid AOF manifest file: {error}");
        Refused
    })
}

/// The first bytes of a file.
fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (file, _) = RealDisk.open(path, 0)?;
    file.take(4096).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the first line that says something is one of a manifest.
fn is_manifest(begins: &[u8]) -> bool {
    let mut lines = begins.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#"));
    lines
        .next()
        .is_some_and(|line| line.trim_ascii_start().get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"file ")))
}

fn is_snapshot(begins: &[u8]) -> bool {
    begins.starts_with(b"REDIS") || begins.starts_with(b"VALKEY")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What became of a file that is well now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Valid,
    Empty,
    /// Nothing of it is later than that.
    NothingToCut,
    Cut,
}

impl Outcome {
    fn tell(self, kind: &str, name: &str, options: &Options) {
        match (self, options.until_s) {
            (Outcome::Empty, _) => println!("{kind}AOF {name} is empty"),
            (Outcome::Valid, _) => println!("{kind}AOF {name} is valid"),
            (Outcome::NothingToCut, Some(until_s)) => {
                println!("Truncate nothing in AOF {name} to timestamp {until_s}");
                println!("{kind}AOF {name} is valid");
            }
            (Outcome::NothingToCut | Outcome::Cut, _) => {}
        }
    }
}

/// How far a file was read.
#[derive(Debug, Default)]
struct Reading {
    /// Everything in front of it is whole.
    good: u64,
    /// Lines of it.
    good_lines: u64,
    /// What is wrong behind it, and where.
    problem: Option<(u64, String)>,
    /// Where the first timestamp stands that is later than wanted.
    later_at: Option<u64>,
}

fn check_file(path: &Path, options: &Options, is_last: bool, now_ms: i64) -> Result<Outcome, Refused> {
    let file = name(path);
    let cannot = |error: &io::Error| {
        println!("Cannot open file {}: {error}", path.display());
        Refused
    };
    let begins = beginning(path).map_err(|error| cannot(&error))?;
    let size = fs::metadata(path).map_err(|error| cannot(&error))?.len();
    if size == 0 {
        return Ok(Outcome::Empty);
    }
    let mut from = 0;
    if is_snapshot(&begins) {
        let Some(end) = rdb::check_preamble(path, now_ms) else {
            println!("RDB preamble of AOF file is not sane, aborting.");
            return Err(Refused);
        };
        println!("RDB preamble is OK, proceeding with AOF tail...");
        from = end;
    }
    let (tail, _) = RealDisk.open(path, from).map_err(|error| cannot(&error))?;
    let reading = read(CommandReader::new(tail, from), options.until_s);
    if let (Some(until_s), None) = (options.until_s, &reading.problem) {
        return cut_to_time(path, &file, &reading, until_s, is_last, from);
    }
    if let Some((at, problem)) = &reading.problem {
        println!("AOF {file} format error");
        println!("0x{at:>16x}: {problem}");
    }
    let diff = size.saturating_sub(reading.good);
    println!(
        "AOF analyzed: filename={file}, size={size}, ok_up_to={}, ok_up_to_line={}, diff={diff}",
        reading.good,
        reading.good_lines + 1
    );
    if diff == 0 {
        return Ok(Outcome::Valid);
    }
    if !options.fix {
        println!("AOF {file} is not valid. Use the --fix option to try fixing it.");
        return Err(Refused);
    }
    if !is_last {
        println!("Failed to truncate AOF {file} because it is not the last file");
        return Err(Refused);
    }
    println!("This will shrink the AOF {file} from {size} bytes, with {diff} bytes, to {} bytes", reading.good);
    print!("Continue? [y/N]: ");
    // Whoever is not shown the question does not answer it either.
    let _ = io::stdout().flush();
    let mut answer = String::new();
    let agreed =
        io::stdin().lock().read_line(&mut answer).is_ok() && answer.trim_start().to_ascii_lowercase().starts_with('y');
    if !agreed {
        println!("Aborting...");
        return Err(Refused);
    }
    cut(path, &file, reading.good)?;
    println!("Successfully truncated AOF {file}");
    Ok(Outcome::Cut)
}

fn cut_to_time(
    path: &Path,
    file: &str,
    reading: &Reading,
    until_s: i64,
    is_last: bool,
    from: u64,
) -> Result<Outcome, Refused> {
    let Some(at) = reading.later_at else { return Ok(Outcome::NothingToCut) };
    if at == from {
        println!("AOF {file} has nothing before timestamp {until_s}, aborting...");
        return Err(Refused);
    }
    if !is_last {
        println!(
            "Failed to truncate AOF {file} to timestamp {until_s} to offset {at} because it is not the last file."
        );
        println!(
            "If you insist, please delete all files after this file according to the manifest file and delete the corresponding records in manifest file manually. Then re-run check-aof."
        );
        return Err(Refused);
    }
    cut(path, file, at)?;
    println!("Successfully truncated AOF {file} to timestamp {until_s}");
    Ok(Outcome::Cut)
}

fn cut(path: &Path, file: &str, at: u64) -> Result<(), Refused> {
    let done = RealDisk.append(path).and_then(|mut opened| {
        opened.set_len(at)?;
        opened.sync_all()
    });
    done.map_err(|error| {
        println!("Failed to truncate AOF {file}: {error}");
        Refused
    })
}

/// Reads commands to the end, or to the first timestamp behind `until_s`.
fn read(mut reader: CommandReader<impl Read>, until_s: Option<i64>) -> Reading {
    let mut reading = Reading { good: reader.offset(), ..Reading::default() };
    let mut in_multi = false;
    let mut batch = Batch::new();
    loop {
        batch.clear();
        let begin = reader.offset();
        match reader.next(&mut batch) {
            Ok(Item::Time(at)) if until_s.is_some_and(|until_s| at > until_s) => {
                // A transaction is kept whole, or goes.
                reading.later_at = Some(if in_multi { reading.good } else { begin });
                return reading;
            }
            Ok(Item::Time(_)) => {}
            Ok(Item::Command) => {
                let name = batch.command(0).name();
                let (begins, ends) = (name.eq_ignore_ascii_case(b"MULTI"), name.eq_ignore_ascii_case(b"EXEC"));
                if begins && in_multi || ends && !in_multi {
                    let name = String::from_utf8_lossy(name).to_ascii_uppercase();
                    reading.problem = Some((begin, format!("Unexpected {name}")));
                    return reading;
                }
                in_multi = (in_multi || begins) && !ends;
            }
            Ok(Item::End) => {
                if in_multi {
                    reading.problem = Some((reader.offset(), "Reached EOF before reading EXEC for MULTI".to_owned()));
                }
                return reading;
            }
            Err(error) => {
                let what = match error.problem {
                    ReadProblem::Torn => "the file ends in the middle of a command".to_owned(),
                    ReadProblem::Format(what) => what.to_owned(),
                    ReadProblem::Io(error) => error.to_string(),
                };
                reading.problem = Some((error.offset, what));
                return reading;
            }
        }
        if !in_multi {
            (reading.good, reading.good_lines) = (reader.offset(), reader.lines());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &[u8] = b"*3\r\n$3\r\nset\r\n$3\r\nfoo\r\n$5\r\nhello\r\n";
    const MULTI: &[u8] = b"*1\r\n$5\r\nmulti\r\n";
    const EXEC: &[u8] = b"*1\r\n$4\r\nexec\r\n";

    fn told(parts: &[&[u8]], until_s: Option<i64>) -> (u64, u64, Option<String>, Option<u64>) {
        let file = parts.concat();
        let Reading { good, good_lines, problem, later_at } = read(CommandReader::new(&file[..], 0), until_s);
        (good, good_lines, problem.map(|(_, what)| what), later_at)
    }

    #[test]
    fn what_is_good_ends_behind_the_last_whole_command_or_transaction() {
        let problem = |text: &str| Some(text.to_owned());
        assert_eq!(told(&[SET, SET], None), (66, 14, None, None));
        assert_eq!(told(&[SET, b"!!!"], None), (33, 7, problem("no command where one should be"), None));
        assert_eq!(told(&[SET, &SET[..9]], None), (33, 7, problem("the file ends in the middle of a command"), None));
        let torn = problem("Reached EOF before reading EXEC for MULTI");
        assert_eq!(told(&[SET, MULTI, SET], None), (33, 7, torn, None));
        assert_eq!(told(&[MULTI, SET, EXEC], None), (62, 13, None, None));
        assert_eq!(told(&[SET, EXEC], None), (33, 7, problem("Unexpected EXEC"), None));
        assert_eq!(told(&[MULTI, MULTI], None), (0, 0, problem("Unexpected MULTI"), None));
    }

    #[test]
    fn a_later_time_is_found_where_it_stands() {
        let parts: &[&[u8]] = &[b"#TS:10\r\n", SET, b"#TS:11\r\n", b"#TS:12\r\n", SET];
        assert_eq!(told(parts, Some(9)).3, Some(0));
        assert_eq!(told(parts, Some(10)).3, Some(41));
        assert_eq!(told(parts, Some(11)).3, Some(49));
        assert_eq!(told(parts, Some(12)).3, None);
        let parts: &[&[u8]] = &[b"#TS:10\r\n", SET, MULTI, SET, b"#TS:12\r\n", SET, EXEC];
        assert_eq!(told(parts, Some(11)).3, Some(41));
    }

    #[test]
    fn words_that_make_no_sense_are_told() {
        let problem = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            Options::parse(&words).err()
        };
        assert_eq!(problem(&["--fix", "file"]), None);
        assert_eq!(problem(&["--truncate-to-timestamp", "12", "file"]), None);
        assert_eq!(problem(&["--truncate-to-timestamp", "x", "file"]), Some("Invalid timestamp, aborting..."));
        for words in [&["--truncate-to-timestamp"][..], &[], &["--fix"], &["a", "b"], &["--new", "a"]] {
            assert_eq!(problem(words), Some(USAGE), "{words:?}");
        }
        assert_eq!(problem(&["--fix", "--truncate-to-timestamp", "12", "file"]), Some(USAGE));
    }

    #[test]
    fn a_manifest_is_told_from_commands() {
        assert!(is_manifest(b"file a seq 1 type b\n"));
        assert!(is_manifest(b"# a remark\n  file a seq 1 type b\n"));
        assert!(!is_manifest(SET) && !is_manifest(b"") && !is_manifest(b"filed under\n"));
    }
}
