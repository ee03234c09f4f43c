//! `check-rdb`: reads a snapshot to its end as the server would, and says what is in it or what is wrong and where.
//!
//! With `--salvage OUT` it writes what can be saved to another file. Values are read strictly, but of one that contradicts
//! itself the end can be found all the same in most cases, by passing over its strings: then only that key is lost. The file
//! itself is never touched.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use weir_rdb::build::{Builder, Limits};
use weir_rdb::encode::Needs;
use weir_rdb::module::ModuleType;
use weir_rdb::value::{Collection, Dialect, Id, StreamFigures, Visitor, name_of_type};
use weir_rdb::writer::{SnapshotWriter, put_database, put_entry, put_function, put_header, put_sizes};
use weir_rdb::{Error, KeyFacts, Problem, Record, Snapshot};
use weir_structs::hash::HashLimits;
use weir_structs::keyspace::{KeyHasher, Keyspace, OwnedValue, TakenValue};
use weir_structs::packed::Element;
use weir_structs::set::SetLimits;
use weir_structs::stream::NodeLimits;
use weir_structs::value::Big;
use weir_structs::zset::ZsetLimits;

const USAGE: &str = "Usage: weir check-rdb FILE [--stats] [--salvage OUT]\n\n  \
    --stats        say how many keys and elements of each type there are\n  \
    --salvage OUT  write what can be saved to the new file OUT";
/// How many lines tell of progress in a file that is large.
const PROGRESS_LINES: u64 = 10;
/// Below so many bytes a file is checked before anybody could wonder.
const PROGRESS_FROM_BYTES: u64 = 256 << 20;
/// Keys that were lost and are named.
const LOST_NAMED_MAX: u64 = 100;

/// Runs the tool with the words behind its name.
pub(super) fn run(args: &[OsString], now_ms: i64) -> ExitCode {
    let Some(options) = Options::parse(args) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let path = &options.file;
    println!("[offset 0] Checking RDB file {}", path.display());
    let failed = |error: &dyn std::fmt::Display| {
        println!("[offset 0] Cannot open {}: {error}", path.display());
        ExitCode::FAILURE
    };
    let bytes = match File::open(path).and_then(|file| file.metadata()) {
        Ok(facts) if facts.is_dir() => return failed(&"it is a folder"),
        Ok(facts) => facts.len(),
        Err(error) => return failed(&error),
    };
    let mut check = Check { now_ms, bytes, speaks: true, goes_on: options.salvage.is_some(), ..Check::default() };
    let outcome = check.read(path, None);
    check.tell(&outcome, options.stats);
    if let Some(out) = &options.salvage
        && let Err(error) = check.salvage(path, out)
    {
        println!("[info] Nothing was saved to {}: {error}", out.display());
        return ExitCode::FAILURE;
    }
    if outcome.is_ok() && check.lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Looks at the snapshot with which an append-only file begins. Says where it ends, if it is well.
pub(super) fn check_preamble(path: &Path, now_ms: i64) -> Option<u64> {
    println!("[offset 0] Checking RDB file {}", path.display());
    let mut check = Check { now_ms, speaks: true, ..Check::default() };
    let outcome = check.read(path, None);
    check.tell(&outcome, false);
    outcome.is_ok().then_some(check.end_offset)
}

struct Options {
    file: PathBuf,
    stats: bool,
    salvage: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[OsString]) -> Option<Options> {
        let (mut file, mut stats, mut salvage) = (None, false, None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--stats") => stats = true,
                Some("--salvage") => salvage = Some(PathBuf::from(args.next()?)),
                Some(option) if option.starts_with("--") => return None,
                _ if file.is_some() => return None,
                _ => file = Some(PathBuf::from(arg)),
            }
        }
        Some(Options { file: file?, stats, salvage })
    }
}

/// What is known of the keys of one type.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    keys: u64,
    expires: u64,
    expired: u64,
    key_bytes: u64,
    value_bytes: u64,
    elements: u64,
    elements_max: u64,
}

const KINDS: [&str; 9] = ["string", "list", "set", "zset", "hash", "stream", "mq.queue", "mq.exchange", "cfg.store"];

/// A key that is being read, for the message if that fails.
#[derive(Clone, Debug)]
struct Current {
    name: Vec<u8>,
    kind: u8,
}

#[derive(Default)]
struct Check {
    now_ms: i64,
    bytes: u64,
    /// Whether what is met is told.
    speaks: bool,
    /// Whether a value that makes no sense is passed over.
    goes_on: bool,
    doing: &'static str,
    current: Option<Current>,
    /// By database and type.
    tallies: BTreeMap<u64, [Tally; KINDS.len()]>,
    functions: u64,
    /// Collections without elements, which the server does not load.
    empty: u64,
    /// Values that were passed over.
    lost: u64,
    /// What of it only newer versions can say.
    needs: Needs,
    end_offset: u64,
}

impl Check {
    /// Reads all of it; what could be read goes to `writer` as well.
    fn read(&mut self, path: &Path, mut writer: Option<&mut SnapshotWriter<File>>) -> Result<(), Error> {
        self.doing = "start";
        let file = File::open(path).map_err(|error| Error { offset: 0, problem: Problem::Io(error.kind()) })?;
        let mut snapshot = Snapshot::open(file, true)?;
        let hasher = KeyHasher::new(0);
        let mut counting = Counting::new(Builder::new(hasher.clone(), limits(), i64::MIN));
        let (mut database, mut seen, mut told) = (0, HashSet::new(), 0);
        loop {
            self.end_offset = snapshot.offset();
            if self.speaks && self.bytes >= PROGRESS_FROM_BYTES {
                let tenths = self.end_offset.saturating_mul(PROGRESS_LINES) / self.bytes;
                if tenths > told {
                    told = tenths;
                    println!("[offset {}] {} % checked", self.end_offset, tenths * 100 / PROGRESS_LINES);
                }
            }
            (self.doing, self.current) = ("read-type", None);
            let record = snapshot.next_record();
            if snapshot.is_ending() {
                self.doing = "check-sum";
            }
            match record? {
                Record::Aux { name, value } => {
                    let (name, value) = (String::from_utf8_lossy(&name), value.escape_ascii());
                    self.say(snapshot.offset(), format_args!("AUX FIELD {name} = '{value}'"));
                }
                Record::Database(index) => {
                    database = index;
                    self.say(snapshot.offset(), format_args!("Selecting DB ID {index}"));
                    if let Some(writer) = writer.as_deref_mut() {
                        let tallies = self.tallies.get(&index).copied().unwrap_or_default();
                        let sum = |figure: fn(&Tally) -> u64| tallies.iter().map(figure).sum();
                        let written = writer.put(|to| {
                            put_database(to, index);
                            put_sizes(to, sum(|t| t.keys), sum(|t| t.expires));
                        });
                        written.map_err(|error| at(&snapshot, &error))?;
                    }
                }
                Record::Size { .. } => {}
                Record::Function(code) => {
                    self.functions += 1;
                    if let Some(writer) = writer.as_deref_mut() {
                        writer.put(|to| put_function(to, &code)).map_err(|error| at(&snapshot, &error))?;
                    }
                }
                Record::ModuleAux => self.say(snapshot.offset(), format_args!("MODULE AUX data, passed over")),
                Record::Key { name, kind, facts } => {
                    (self.doing, self.current) = ("read-object-value", Some(Current { name, kind }));
                    let began = snapshot.offset();
                    let name = self.current.as_ref().map(|current| current.name.as_slice()).unwrap_or_default();
                    let is_new = seen.insert((database, hasher.position(name)));
                    match counting.read(&mut snapshot, kind) {
                        Ok(Some(_)) if !is_new => {
                            self.lose(&mut snapshot, kind, began, Problem::KeyTwice)?;
                        }
                        Ok(Some(value)) => {
                            self.count(database, &counting, facts);
                            if let Some(writer) = writer.as_deref_mut() {
                                let name = self.current.as_ref().map(|current| current.name.as_slice());
                                let put =
                                    put(writer, snapshot.dialect(), &hasher, name.unwrap_or_default(), value, facts);
                                put.map_err(|error| at(&snapshot, &error))?;
                            }
                        }
                        Ok(None) => {}
                        Err(Error { problem: Problem::Empty, .. }) => self.empty += 1,
                        Err(error) => self.lose(&mut snapshot, kind, began, error.problem).map_err(|_| error)?,
                    }
                }
                Record::End => {
                    self.end_offset = snapshot.offset();
                    match snapshot.has_checksum() {
                        Some(true) => self.say(self.end_offset, format_args!("Checksum OK")),
                        Some(false) => {
                            self.say(self.end_offset, format_args!("RDB file was saved with checksum disabled"))
                        }
                        None => {}
                    }
                    return Ok(());
                }
            }
        }
    }

    fn say(&self, offset: u64, what: std::fmt::Arguments<'_>) {
        if self.speaks {
            println!("[offset {offset}] {what}");
        }
    }

    /// A value makes no sense: finds its end, if that is wanted.
    fn lose(&mut self, snapshot: &mut Snapshot<File>, kind: u8, began: u64, problem: Problem) -> Result<(), Error> {
        let error = Error { offset: snapshot.offset(), problem };
        if !self.goes_on {
            return Err(error);
        }
        snapshot.pass_over_value(kind, began)?;
        self.lost += 1;
        if self.lost <= LOST_NAMED_MAX {
            let name = self.current.as_ref().map(|current| current.name.as_slice()).unwrap_or_default();
            self.say(error.offset, format_args!("Lost: key '{}': {problem}", name.escape_ascii()));
        }
        Ok(())
    }

    fn count(&mut self, database: u64, counting: &Counting, facts: KeyFacts) {
        let tallies = self.tallies.entry(database).or_default();
        let Some(tally) = tallies.get_mut(counting.kind) else { return };
        tally.keys += 1;
        tally.expires += u64::from(facts.expire_at_ms.is_some());
        tally.expired += u64::from(facts.expire_at_ms.is_some_and(|at| at <= self.now_ms));
        tally.key_bytes += self.current.as_ref().map_or(0, |current| current.name.len() as u64);
        tally.value_bytes += counting.bytes;
        tally.elements += counting.elements;
        tally.elements_max = tally.elements_max.max(counting.elements);
        self.needs.expiring_fields |= counting.needs.expiring_fields;
        self.needs.producers |= counting.needs.producers;
    }

    fn sum(&self, figure: fn(&Tally) -> u64) -> u64 {
        self.tallies.values().flatten().map(figure).sum()
    }

    fn tell(&self, outcome: &Result<(), Error>, with_stats: bool) {
        match outcome {
            Ok(()) if self.lost == 0 => println!("[offset {}] \\o/ RDB looks OK! \\o/", self.end_offset),
            Ok(()) => println!("[offset {}] The end was reached, without {} keys", self.end_offset, self.lost),
            Err(error) => {
                println!("--- RDB ERROR DETECTED ---");
                println!("[offset {}] {}", error.offset, error.problem);
                println!("[additional info] While doing: {}", self.doing);
                if let Some(Current { name, kind }) = &self.current {
                    println!("[additional info] Reading key '{}'", name.escape_ascii());
                    println!("[additional info] Reading type {kind} ({})", name_of_type(*kind));
                }
            }
        }
        println!("[info] {} keys read", self.sum(|tally| tally.keys));
        println!("[info] {} expires", self.sum(|tally| tally.expires));
        println!("[info] {} already expired", self.sum(|tally| tally.expired));
        if self.empty > 0 {
            println!("[info] {} empty keys skipped", self.empty);
        }
        if self.functions > 0 {
            println!("[info] {} functions", self.functions);
        }
        if with_stats {
            self.tell_stats();
        }
    }

    fn tell_stats(&self) {
        type Figure = (&'static str, fn(&Tally) -> String);
        let figures: [Figure; 8] = [
            ("keys.total", |t| t.keys.to_string()),
            ("expire_keys.total", |t| t.expires.to_string()),
            ("already_expired.total", |t| t.expired.to_string()),
            ("keys.size", |t| t.key_bytes.to_string()),
            ("keys.value_size", |t| t.value_bytes.to_string()),
            ("elements.total", |t| t.elements.to_string()),
            ("elements.num.max", |t| t.elements_max.to_string()),
            ("elements.num.avg", |t| match t.keys {
                0 => "0.00".to_owned(),
                keys => format!("{}.{:02}", t.elements / keys, t.elements % keys * 100 / keys),
            }),
        ];
        for (database, tallies) in &self.tallies {
            let line = |name: &str, cells: &mut dyn Iterator<Item = String>| {
                let cells: String = cells.map(|cell| format!("\t{cell:<10}")).collect();
                println!("{:<30}{cells}", format!("db.{database}.{name}"));
            };
            line("type.name", &mut KINDS.iter().map(|&kind| kind.to_owned()));
            for (name, figure) in figures {
                line(name, &mut tallies.iter().map(figure));
            }
        }
    }

    /// Reads everything once more and writes what can be read.
    fn salvage(&mut self, path: &Path, out: &Path) -> io::Result<()> {
        let dialect = match File::open(path).ok().and_then(|file| Snapshot::open(file, false).ok()) {
            Some(snapshot) => snapshot.dialect(),
            None => return Err(io::Error::other("it does not begin as a snapshot")),
        };
        // Nothing that is there is overwritten.
        let file = OpenOptions::new().write(true).create_new(true).open(out)?;
        let mut writer = SnapshotWriter::new(file, true);
        writer.put(|to| put_header(to, self.needs, dialect))?;
        let (tallies, needs) = (self.tallies.clone(), self.needs);
        let mut again = Check { now_ms: self.now_ms, goes_on: true, tallies, needs, ..Check::default() };
        let keys_before = again.sum(|tally| tally.keys);
        if let Err(Error { problem: Problem::Io(kind), .. }) = again.read(path, Some(&mut writer)) {
            return Err(kind.into());
        }
        let (file, bytes) = writer.end()?;
        file.sync_all()?;
        let keys = again.sum(|tally| tally.keys) - keys_before;
        println!("[info] {keys} keys and {} functions saved to {} ({bytes} bytes)", again.functions, out.display());
        Ok(())
    }
}

/// An error of the file that is written, as one at the place that is being read.
fn at(snapshot: &Snapshot<File>, error: &io::Error) -> Error {
    snapshot.error(Problem::Io(error.kind()))
}

/// Writes a key with its value.
fn put(
    writer: &mut SnapshotWriter<File>,
    dialect: Dialect,
    hasher: &KeyHasher,
    name: &[u8],
    mut value: TakenValue,
    facts: KeyFacts,
) -> io::Result<()> {
    value.expire_at = facts.expire_at_ms;
    let mut keyspace = Keyspace::new(hasher.clone());
    let position = keyspace.position(name);
    keyspace.insert_taken(position, name, value, 0);
    match keyspace.get(position, name) {
        Some(entry) => writer.put(|to| put_entry(to, entry, facts, dialect)),
        None => Ok(()),
    }
}

/// The server's defaults. Which form a value has makes no difference here.
fn limits() -> Limits {
    Limits {
        list: weir_structs::list::Limits::new(-2, 0),
        set: SetLimits { ints_max: 512, packed_max: 128, packed_len_max: 64 },
        hash: HashLimits { fields: 512, value_bytes: 64 },
        zset: ZsetLimits { entries: 128, value_bytes: 64 },
        stream: NodeLimits { entries: 100, bytes: 4096 },
    }
}

/// Makes values, and counts what they are made of.
struct Counting {
    builder: Builder,
    /// Index in [`KINDS`].
    kind: usize,
    elements: u64,
    bytes: u64,
    needs: Needs,
}

impl Counting {
    fn new(builder: Builder) -> Counting {
        Counting { builder, kind: 0, elements: 0, bytes: 0, needs: Needs::default() }
    }

    /// Reads a value; `None` if nothing is left of it.
    fn read(&mut self, snapshot: &mut Snapshot<File>, kind: u8) -> Result<Option<TakenValue>, Error> {
        (self.kind, self.elements, self.bytes, self.needs) = (0, 0, 0, Needs::default());
        let read = snapshot.value(kind, self);
        let taken = read.and_then(|()| self.builder.take().map_err(|problem| snapshot.error(problem)));
        match &taken {
            Ok(Some(TakenValue { value: OwnedValue::Big(big), .. })) => match big {
                Big::Queue(queue) => self.elements = queue.len(),
                Big::Exchange(exchange) => self.elements = exchange.bindings().count() as u64,
                Big::Tree(tree) => self.elements = tree.len() as u64,
                Big::Stream(stream) => self.needs.producers = stream.remembers_producers(),
                _ => {}
            },
            Ok(_) => {}
            Err(_) => self.builder.clear(),
        }
        taken
    }

    fn met(&mut self, bytes: usize) {
        self.elements += 1;
        self.bytes += bytes as u64;
    }
}

impl Visitor for Counting {
    fn string(&mut self, value: &[u8]) -> Result<(), Problem> {
        self.met(value.len());
        self.builder.string(value)
    }

    fn collection(&mut self, kind: Collection, claimed: usize) -> Result<(), Problem> {
        self.kind = match kind {
            Collection::List => 1,
            Collection::Set => 2,
            Collection::Zset => 3,
            Collection::Hash => 4,
        };
        self.builder.collection(kind, claimed)
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Problem> {
        self.met(element.text_len());
        self.builder.element(element)
    }

    fn scored(&mut self, member: Element<'_>, score: f64) -> Result<(), Problem> {
        self.met(member.text_len() + size_of::<f64>());
        self.builder.scored(member, score)
    }

    fn field(&mut self, field: Element<'_>, value: Element<'_>, expire_at_ms: Option<i64>) -> Result<(), Problem> {
        self.met(field.text_len() + value.text_len());
        self.needs.expiring_fields |= expire_at_ms.is_some();
        self.builder.field(field, value, expire_at_ms)
    }

    fn stream(&mut self) -> Result<(), Problem> {
        self.kind = 5;
        self.builder.stream()
    }

    fn entry(&mut self, id: Id, pairs: &[Element<'_>]) -> Result<(), Problem> {
        self.met(pairs.iter().map(|element| element.text_len()).sum());
        self.builder.entry(id, pairs)
    }

    fn module(&mut self, kind: ModuleType) -> Result<(), Problem> {
        self.kind = match kind {
            ModuleType::Queue => 6,
            ModuleType::Exchange => 7,
            ModuleType::Tree => 8,
        };
        self.builder.module(kind)
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), Problem> {
        self.bytes += piece.len() as u64;
        self.builder.piece(piece)
    }

    fn figures(&mut self, figures: &StreamFigures) -> Result<(), Problem> {
        self.builder.figures(figures)
    }

    fn group(&mut self, name: &[u8], last_delivered: Id, entries_read: Option<u64>) -> Result<(), Problem> {
        self.builder.group(name, last_delivered, entries_read)
    }

    fn pending(&mut self, id: Id, delivered_ms: u64, deliveries: u64) -> Result<(), Problem> {
        self.builder.pending(id, delivered_ms, deliveries)
    }

    fn consumer(&mut self, name: &[u8], seen_ms: u64, active_ms: Option<u64>) -> Result<(), Problem> {
        self.builder.consumer(name, seen_ms, active_ms)
    }

    fn consumer_pending(&mut self, id: Id) -> Result<(), Problem> {
        self.builder.consumer_pending(id)
    }

    fn producers(&mut self, duration_s: u64, messages_max: u64) -> Result<(), Problem> {
        self.builder.producers(duration_s, messages_max)
    }

    fn message(&mut self, producer: &[u8], message: &[u8], id: Id) -> Result<(), Problem> {
        self.builder.message(producer, message, id)
    }

    fn counted(&mut self, added: u64, duplicates: u64) -> Result<(), Problem> {
        self.builder.counted(added, duplicates)
    }
}
