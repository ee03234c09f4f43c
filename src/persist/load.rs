//! Reading a snapshot into the store.

use crate::store::Store;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use weir_rdb::build::{Builder, Limits};
use weir_rdb::{Record, Snapshot};

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Keys that are in the store now.
    pub keys: u64,
    /// Keys whose time had come.
    pub expired: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Sources of libraries of functions, in order.
    pub functions: Vec<Vec<u8>>,
    /// Modules had data in it, which were passed over.
    pub had_modules: bool,
}

/// Why a snapshot could not be read to its end. What had been read by then is in the store.
#[derive(Debug)]
pub enum LoadError {
    /// The file could not be opened.
    Open(io::Error),
    /// What is in it is wrong.
    Format(weir_rdb::Error),
    /// It has keys of a database that there is not.
    Database(u64),
    /// It has a key twice, before this byte.
    Twice(u64),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Open(error) => write!(f, "{error}"),
            LoadError::Format(error) => write!(f, "{error}"),
            LoadError::Database(index) => {
                write!(f, "it has keys of database {index}, and there are not so many: see the directive databases")
            }
            LoadError::Twice(offset) => write!(f, "at byte {offset}: a key that was there already"),
        }
    }
}

impl From<weir_rdb::Error> for LoadError {
    fn from(error: weir_rdb::Error) -> LoadError {
        LoadError::Format(error)
    }
}

/// Reads a snapshot into a store, record by record.
#[derive(Debug)]
pub struct Loader {
    snapshot: Snapshot<File>,
    builder: Builder,
    total_bytes: u64,
    database: usize,
    replace: bool,
    keep_expired: bool,
    loaded: Loaded,
}

impl Loader {
    /// Opens the file at `path`; `None` if there is no file. Keys that are in the store already are replaced if `replace` says
    /// so, otherwise they are an error, as they are when the file has them twice.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn open(
        path: &Path,
        store: &Store,
        limits: Limits,
        with_checksum: bool,
        replace: bool,
        keep_expired: bool,
    ) -> Result<Option<Loader>, LoadError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LoadError::Open(error)),
        };
        let total_bytes = file.metadata().map_err(LoadError::Open)?.len();
        let builder = Builder::new(store.hasher().clone(), limits, store.now_ms());
        let (snapshot, loaded) = (Snapshot::open(file, with_checksum)?, Loaded::default());
        Ok(Some(Loader { snapshot, builder, total_bytes, database: 0, replace, keep_expired, loaded }))
    }

    /// Bytes of the file.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Bytes that have been read.
    pub fn loaded_bytes(&self) -> u64 {
        self.snapshot.offset()
    }

    /// What was read, at the end.
    pub fn take_loaded(&mut self) -> Loaded {
        std::mem::take(&mut self.loaded)
    }

    /// Reads one record. Says whether that was the last.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn step(&mut self, store: &mut Store) -> Result<bool, LoadError> {
        let Loader { snapshot, builder, database, loaded, .. } = self;
        match snapshot.next_record()? {
            Record::Database(index) => {
                let known = usize::try_from(index).ok().filter(|&index| index < store.databases());
                *database = known.ok_or(LoadError::Database(index))?;
            }
            // Facts about the server that wrote it; and claims, which the table needs not: it grows in small steps.
            Record::Aux { .. } | Record::Size { .. } => {}
            Record::Function(code) => loaded.functions.push(code),
            Record::ModuleAux => loaded.had_modules = true,
            Record::Key { name, kind, facts } => {
                snapshot.value(kind, builder)?;
                let value = builder.take().map_err(|problem| snapshot.error(problem))?;
                let now_ms = store.now_ms();
                let is_due = facts.expire_at_ms.is_some_and(|at| at <= now_ms) && !self.keep_expired;
                let Some(mut value) = value.filter(|_| !is_due) else {
                    loaded.expired += 1;
                    return Ok(false);
                };
                value.expire_at = facts.expire_at_ms;
                let key = store.key(&name);
                if store.db(*database).peek(key).is_some() {
                    if !self.replace {
                        return Err(LoadError::Twice(snapshot.offset()));
                    }
                    store.db(*database).remove(key);
                }
                store.db(*database).put_used(key, value, facts.idle_s, facts.frequency);
                loaded.keys += 1;
            }
            Record::End => {
                loaded.bytes = snapshot.offset();
                return Ok(true);
            }
        }
        Ok(false)
    }
}
