//! Reading a snapshot into the store, on two threads.
//!
//! ```text
//!   weir-load: file ─► bytes, checksum ─► records ─► values made, keys hashed ─► batches ═╗ (bounded)
//!   executor:                               puts values at their keys ◄═ batches ═════════╝
//! ```
//!
//! Everything that needs no data but the file's own is done by the reading thread, big collections included: to put one at its
//! key is one step however big it is. The executor takes a window of keys at a time, whose places in memory are requested
//! together.

use super::pipe::{Pipe, Weighs};
use super::save::COMMANDS_AUX;
use crate::store::{Big, Key, LoadedKey, NewStr, NewValue, PackedKind, Room, Store};
use crate::threads;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use weir_rdb::build::{Builder, Limits};
use weir_rdb::value::{code, complaint, name_of_type};
use weir_rdb::{KeyFacts, Problem, Record, Snapshot};
use weir_structs::keyspace::KeyHasher;
use weir_structs::number::parse_i64;

/// Keys that are put in their places in one step.
const WINDOW: usize = 32;
/// How many keys ahead the place of one is requested from memory.
const AHEAD: usize = 16;
/// A table is made for so many keys as the file claims, but not for more than it has bytes for: so many each.
const BYTES_OF_KEY: u64 = 16;
/// Fewer keys than that need no table made beforehand.
const ROOM_FROM_KEYS: usize = 1 << 16;
/// A batch ends with so many keys, or so many bytes of keys and small values.
const BATCH_KEYS: usize = 2048;
const BATCH_BYTES: usize = 256 * 1024;
/// Bytes that wait between the threads; a single value may be larger.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Keys that are in the store now.
    pub keys: u64,
    /// Keys whose time had come.
    pub expired: u64,
    /// Keys of collections without elements, which are none.
    pub empty: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Further commands, as multibulk.
    pub commands: Vec<u8>,
    /// Modules had data in it, which were passed over.
    pub had_modules: bool,
}

/// What a snapshot says of itself before its keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuxField {
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: String,
}

/// Why a snapshot could not be read to its end. What had been read by then is in the store.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be opened.
    Open(io::Error),
    /// What is in it is wrong; which key was being read.
    Format(weir_rdb::Error, Option<Box<BadValue>>),
    /// It has keys of a database that there is not.
    Database(u64),
    /// It has a key twice, before this byte.
    Twice(u64, Vec<u8>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Open(error) => write!(f, "{error}"),
            LoadError::Format(error, None) => write!(f, "{error}"),
            LoadError::Format(error, Some(bad)) => {
                let what = complaint(bad.kind, error.problem);
                write!(f, "at byte {}: {what}, in the value of key '{}'", error.offset, bad.key.escape_ascii())
            }
            LoadError::Database(index) => {
                write!(f, "it has keys of database {index}, and there are not so many: see the directive databases")
            }
            LoadError::Twice(offset, key) => {
                write!(f, "at byte {offset}: a key that was there already: '{}'", key.escape_ascii())
            }
        }
    }
}

/// Which value it was that is wrong.
#[derive(Debug)]
pub struct BadValue {
    /// Its key.
    pub key: Vec<u8>,
    /// Its type.
    pub kind: u8,
}

/// How a snapshot is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Until where values have their small forms.
    pub limits: Limits,
    /// Whether the checksum is looked at.
    pub with_checksum: bool,
    /// A newer version is read as the newest that is known.
    pub any_version: bool,
    /// Keys that are in the store already are replaced; otherwise they are an error, as they are when the file has them twice.
    pub replace: bool,
    /// Keys whose time has come are put in all the same.
    pub keep_expired: bool,
}

/// A value in a batch: in its bytes, or by itself.
#[derive(Debug)]
enum Value {
    /// All fields had expired.
    Gone,
    Int(i64),
    Str(Range<usize>),
    Packed(PackedKind, Range<usize>),
    Big(Big),
}

/// A key with its value in a batch.
#[derive(Debug)]
struct Row {
    database: usize,
    position: u64,
    key: Range<usize>,
    value: Value,
    facts: KeyFacts,
}

/// What goes from one thread to the other.
#[derive(Debug)]
enum Message {
    Rows(Batch),
    Aux(AuxField),
    Function(Vec<u8>),
    Commands(Vec<u8>),
    ModuleAux,
    Empty(Vec<u8>),
    Room(usize, Room),
    /// The last one.
    End(Result<u64, LoadError>),
}

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    big_bytes: usize,
    /// Bytes of the file before its end.
    offset: u64,
}

impl Weighs for Message {
    fn bytes(&self) -> usize {
        match self {
            Message::Rows(batch) => batch.bytes.len() + batch.rows.len() * size_of::<Row>() + batch.big_bytes,
            Message::Function(bytes) | Message::Commands(bytes) | Message::Empty(bytes) => bytes.len(),
            Message::Aux(AuxField { name, value }) => name.len() + value.len(),
            Message::ModuleAux | Message::Room(..) | Message::End(_) => 0,
        }
    }
}

/// Reads a snapshot into a store, window by window.
#[derive(Debug)]
pub struct Loader {
    pipe: Arc<Pipe<Message>>,
    read_bytes: Arc<AtomicU64>,
    total_bytes: u64,
    reading: Reading,
    batch: Batch,
    /// Rows of it that are done.
    done: usize,
    aux: Vec<AuxField>,
    functions: Vec<Vec<u8>>,
    loaded: Loaded,
}

/// How far a [`Loader`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// So many keys were looked at; there is more.
    Keys(usize),
    /// That was all.
    Done,
}

impl Loader {
    /// Opens the file at `path` and begins to read it; `None` if there is no file.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn open(path: &Path, store: &Store, reading: Reading) -> Result<Option<Loader>, LoadError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LoadError::Open(error)),
        };
        let facts = file.metadata().map_err(LoadError::Open)?;
        if facts.is_dir() {
            return Err(LoadError::Open(io::ErrorKind::IsADirectory.into()));
        }
        let mut snapshot = Snapshot::open_as(file, reading.with_checksum, reading.any_version)
            .map_err(|error| LoadError::Format(error, None))?;
        snapshot.set_length(facts.len());
        // With keys whose time has come, fields of hashes are put in as well.
        let due_ms = if reading.keep_expired { i64::MIN } else { store.due_ms() };
        let (pipe, read_bytes) = (Arc::new(Pipe::new(WAITING_BYTES_MAX)), Arc::new(AtomicU64::new(0)));
        let reader = Reader {
            snapshot,
            builder: Builder::new(store.hasher().clone(), reading.limits, due_ms),
            hasher: store.hasher().clone(),
            databases: store.databases(),
            database: 0,
            total_bytes: facts.len(),
            room_keys: facts.len() / BYTES_OF_KEY,
            batch: Batch::default(),
            pipe: Arc::clone(&pipe),
            read_bytes: Arc::clone(&read_bytes),
        };
        // It ends with the file, or when nobody wants more of it.
        threads::spawn("weir-load", move || reader.run()).map_err(LoadError::Open)?;
        Ok(Some(Loader {
            pipe,
            read_bytes,
            total_bytes: facts.len(),
            reading,
            batch: Batch::default(),
            done: 0,
            aux: Vec::new(),
            functions: Vec::new(),
            loaded: Loaded::default(),
        }))
    }

    /// Bytes of the file.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Bytes that have been read.
    pub fn loaded_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// What was read, at the end.
    pub fn take_loaded(&mut self) -> Loaded {
        std::mem::take(&mut self.loaded)
    }

    /// What the file has said of itself since the last call.
    pub fn take_aux(&mut self) -> Vec<AuxField> {
        std::mem::take(&mut self.aux)
    }

    /// Sources of libraries of functions that have come since the last call, in order.
    pub fn take_functions(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.functions)
    }

    /// Puts some keys, at most `keys_max`, where they belong. Waits for them for so long at most.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn step(&mut self, store: &mut Store, keys_max: usize, patience: Duration) -> Result<Step, LoadError> {
        if self.done == self.batch.rows.len() {
            match self.pipe.receive(patience) {
                None => return Ok(Step::Keys(0)),
                Some(Message::Rows(batch)) => {
                    (self.batch, self.done) = (batch, 0);
                    for row in self.batch.rows.iter().take(AHEAD) {
                        store.prefetch_bucket(row.database, row.position);
                    }
                }
                Some(Message::Room(database, room)) => store.db(database).use_room(room),
                Some(Message::Aux(aux)) => self.aux.push(aux),
                Some(Message::Function(code)) => self.functions.push(code),
                Some(Message::Commands(commands)) => self.loaded.commands = commands,
                Some(Message::ModuleAux) => self.loaded.had_modules = true,
                Some(Message::Empty(key)) => {
                    self.loaded.empty += 1;
                    tracing::info!("rdb: skipping empty key: {}", key.escape_ascii());
                }
                Some(Message::End(ended)) => {
                    if let Err(LoadError::Format(error, Some(bad))) = &ended {
                        let (kind, what) = (name_of_type(bad.kind), complaint(bad.kind, error.problem));
                        tracing::error!("Internal error in RDB reading offset {}, type {kind} -> {what}", error.offset);
                    }
                    self.loaded.bytes = ended?;
                    return Ok(Step::Done);
                }
            }
        }
        let Batch { bytes, rows, offset, .. } = &mut self.batch;
        let end = rows.len().min(self.done + WINDOW.min(keys_max));
        let due_ms = store.due_ms();
        let count = end - self.done;
        for at in self.done..end {
            if let Some(later) = rows.get(at + AHEAD) {
                store.prefetch_bucket(later.database, later.position);
            }
            let row = &mut rows[at];
            self.done += 1;
            if row.facts.expire_at_ms.is_some_and(|at| at <= due_ms) && !self.reading.keep_expired {
                self.loaded.expired += 1;
                continue;
            }
            let key = Key { name: &bytes[row.key.clone()], position: row.position };
            let value = match std::mem::replace(&mut row.value, Value::Gone) {
                Value::Gone => {
                    self.loaded.expired += 1;
                    continue;
                }
                Value::Int(value) => NewStr::Int(value).into(),
                Value::Str(range) => NewStr::Bytes(&bytes[range]).into(),
                Value::Packed(kind, range) => NewValue::Packed(kind, &bytes[range]),
                Value::Big(big) => NewValue::Big(big),
            };
            let KeyFacts { expire_at_ms, idle_s, frequency } = row.facts;
            if self.reading.replace {
                store.db(row.database).remove(key);
            }
            let loaded = LoadedKey { value, expire_at_ms, idle_s, frequency };
            if !store.db(row.database).put_loaded(key, loaded) {
                return Err(LoadError::Twice(*offset, key.name.to_vec()));
            }
            self.loaded.keys += 1;
        }
        Ok(Step::Keys(count))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.pipe.close();
    }
}

/// The reading thread's own.
struct Reader {
    snapshot: Snapshot<File>,
    builder: Builder,
    hasher: KeyHasher,
    databases: usize,
    database: usize,
    total_bytes: u64,
    /// Tables may still be made for so many keys, of all databases together: a file can say any size any number of times.
    room_keys: u64,
    batch: Batch,
    pipe: Arc<Pipe<Message>>,
    read_bytes: Arc<AtomicU64>,
}

/// Nobody wants more.
struct Gone;

impl Reader {
    fn run(mut self) {
        let ended = loop {
            match self.record() {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => break Ok(self.snapshot.offset()),
                Ok(Err(Gone)) => return,
                Err(error) => break Err(error),
            }
        };
        // What comes before an error is in the store, as with one thread; who has gone needs no end.
        if self.send_rows().is_ok() {
            self.pipe.send(Message::End(ended));
        }
    }

    /// Reads a record. Says whether it was the last.
    fn record(&mut self) -> Result<Result<bool, Gone>, LoadError> {
        let record = self.snapshot.next_record().map_err(|error| LoadError::Format(error, None))?;
        let message = match record {
            Record::Key { name, kind, facts } => return self.key(name, kind, facts),
            Record::Database(index) => {
                let known = usize::try_from(index).ok().filter(|&index| index < self.databases);
                self.database = known.ok_or(LoadError::Database(index))?;
                return Ok(Ok(false));
            }
            Record::Size { keys, .. } => {
                let left = self.total_bytes.saturating_sub(self.snapshot.offset());
                let believed = keys.min(left / BYTES_OF_KEY).min(self.room_keys);
                let keys = usize::try_from(believed).unwrap_or(usize::MAX);
                if keys < ROOM_FROM_KEYS {
                    return Ok(Ok(false));
                }
                self.room_keys -= believed;
                Message::Room(self.database, Room::for_keys(self.hasher.clone(), keys))
            }
            Record::Aux { name, value } if name == COMMANDS_AUX.as_bytes() => Message::Commands(value),
            Record::Aux { name, value } => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                Message::Aux(AuxField { name: text(&name), value: text(&value) })
            }
            Record::Function(code) => Message::Function(code),
            Record::ModuleAux => Message::ModuleAux,
            Record::End => return Ok(Ok(true)),
        };
        Ok(self.send(message).map(|()| false))
    }

    fn key(&mut self, name: Vec<u8>, kind: u8, facts: KeyFacts) -> Result<Result<bool, Gone>, LoadError> {
        let position = self.hasher.position(&name);
        let batch = &mut self.batch;
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(&name);
        let key = start..batch.bytes.len();
        let value = match read_value(&mut self.snapshot, &mut self.builder, kind, batch) {
            Ok(Some(value)) => value,
            Ok(None) => {
                batch.rows.push(Row { database: self.database, position, key, value: Value::Gone, facts });
                return Ok(Ok(false));
            }
            Err(weir_rdb::Error { problem: Problem::Empty, .. }) => {
                batch.bytes.truncate(start);
                self.builder.clear();
                return Ok(self.send(Message::Empty(name)).map(|()| false));
            }
            Err(error) => {
                batch.bytes.truncate(start);
                return Err(LoadError::Format(error, Some(Box::new(BadValue { key: name, kind }))));
            }
        };
        batch.rows.push(Row { database: self.database, position, key, value, facts });
        if batch.rows.len() >= BATCH_KEYS || batch.bytes.len() + batch.big_bytes >= BATCH_BYTES {
            return Ok(self.send_rows().map(|()| false));
        }
        Ok(Ok(false))
    }

    /// Sends what is not rows, behind the rows before it.
    fn send(&mut self, message: Message) -> Result<(), Gone> {
        self.send_rows()?;
        if self.pipe.send(message) { Ok(()) } else { Err(Gone) }
    }

    fn send_rows(&mut self) -> Result<(), Gone> {
        self.read_bytes.store(self.snapshot.offset(), Ordering::Relaxed);
        if self.batch.rows.is_empty() {
            return Ok(());
        }
        let fresh = Batch {
            bytes: Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 4),
            rows: Vec::with_capacity(BATCH_KEYS),
            ..Batch::default()
        };
        let mut batch = std::mem::replace(&mut self.batch, fresh);
        batch.offset = self.snapshot.offset();
        if self.pipe.send(Message::Rows(batch)) { Ok(()) } else { Err(Gone) }
    }
}

/// Reads a value into the batch; `None` if all its fields had expired.
fn read_value(
    snapshot: &mut Snapshot<File>,
    builder: &mut Builder,
    kind: u8,
    batch: &mut Batch,
) -> Result<Option<Value>, weir_rdb::Error> {
    let start = batch.bytes.len();
    if kind == code::STRING {
        snapshot.string_value(&mut batch.bytes)?;
        return Ok(Some(match parse_i64(&batch.bytes[start..]) {
            None => Value::Str(start..batch.bytes.len()),
            Some(value) => {
                batch.bytes.truncate(start);
                Value::Int(value)
            }
        }));
    }
    snapshot.value(kind, builder)?;
    let value = builder.take_new().map_err(|problem| snapshot.error(problem))?;
    Ok(value.map(|value| match value {
        NewValue::Big(big) => {
            batch.big_bytes += big.memory_bytes();
            Value::Big(big)
        }
        NewValue::Packed(kind, bytes) => {
            batch.bytes.extend_from_slice(bytes);
            Value::Packed(kind, start..batch.bytes.len())
        }
        NewValue::Str(NewStr::Int(value)) => Value::Int(value),
        NewValue::Str(NewStr::Bytes(bytes) | NewStr::Raw(bytes)) => {
            batch.bytes.extend_from_slice(bytes);
            Value::Str(start..batch.bytes.len())
        }
        NewValue::Str(NewStr::Blob(blob)) => {
            batch.bytes.extend_from_slice(&blob);
            Value::Str(start..batch.bytes.len())
        }
    }))
}
