//! Reading the append-only file: its base as a snapshot or as commands, then its increments, command by command.
//!
//! Commands run as they do for clients, but for one who is nowhere listed: no gate is asked, nobody is told, nothing is fed
//! on, and no deadline comes, for what expired is removed by commands of the file. What stands between MULTI and EXEC runs
//! when all of it has been read; where the file ends before that, it is cut off as any other torn end is.

use super::Server;
use super::client::{ClientId, Slot};
use super::exec::Repeated;
use super::loading::{Load, Progress, Slice, SnapshotLoad, SnapshotUse};
use crate::command::error::Error;
use crate::disk::{Disk, RealDisk};
use crate::persist::aof::{CommandReader, Item, ReadError, ReadProblem};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use weir_resp::Batch;

/// Errors of single commands that are told one by one.
const ERRORS_TOLD: u64 = 10;

/// The append-only file that is being read.
#[derive(Debug)]
pub(super) struct AofLoad {
    /// Paths and sizes in bytes.
    parts: Vec<(PathBuf, u64)>,
    has_base: bool,
    /// The one that is being read.
    at: usize,
    stage: Stage,
    /// Commands that were read and have not run: one, or those of a transaction.
    batch: Batch,
    /// Where the transaction begins that is not over.
    multi_at: Option<u64>,
    /// How many commands of the batch have run.
    done: usize,
    slot: Option<Slot>,
    /// Who waits for it (DEBUG LOADAOF); at the start of the server nobody does.
    waiter: Option<ClientId>,
    at_start: bool,
    commands: u64,
    errors: u64,
}

/// What is done next.
enum Stage {
    /// A file is to be opened.
    Open,
    Snapshot(Box<SnapshotLoad>),
    Commands(CommandReader<Box<dyn Read + Send>>),
    /// Everything that the batch holds is run, then reading goes on.
    Run(CommandReader<Box<dyn Read + Send>>),
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Open => "Open",
            Stage::Snapshot(_) => "Snapshot",
            Stage::Commands(_) => "Commands",
            Stage::Run(_) => "Run",
        })
    }
}

impl AofLoad {
    /// Of these files, in their order, with their sizes; `has_base`: the first one is the base.
    pub(super) fn new(parts: Vec<(PathBuf, u64)>, has_base: bool) -> AofLoad {
        AofLoad {
            parts,
            has_base,
            at: 0,
            stage: Stage::Open,
            batch: Batch::new(),
            multi_at: None,
            done: 0,
            slot: None,
            waiter: None,
            at_start: true,
            commands: 0,
            errors: 0,
        }
    }

    /// Not at the start of the server, but for a client that waits for it.
    pub(super) fn again(self, waiter: Option<ClientId>) -> AofLoad {
        AofLoad { waiter, at_start: false, ..self }
    }

    fn path(&self) -> &Path {
        self.parts.get(self.at).map_or(Path::new(""), |(path, _)| path)
    }

    fn name(&self) -> String {
        self.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Opens the next file.
    fn open(&mut self, server: &mut Server) -> Result<Stage, String> {
        let cannot = |path: &Path, error: &dyn fmt::Display| format!("{} cannot be read: {error}", path.display());
        let path = self.path().to_owned();
        let mut magic = [0; 6];
        let (mut file, _) = RealDisk.open(&path, 0).map_err(|error| cannot(&path, &error))?;
        let mut have = 0;
        while let Some(rest) = magic.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match file.read(rest).map_err(|error| cannot(&path, &error))? {
                0 => break,
                count => have += count,
            }
        }
        if magic.starts_with(b"REDIS") || magic == *b"VALKEY" {
            tracing::info!("Reading RDB base file on AOF loading...");
            let how = SnapshotUse { replace: self.at > 0, keep_expired: true };
            let load = SnapshotLoad::open(server, path.clone(), how)?;
            return load.map(|load| Stage::Snapshot(Box::new(load))).ok_or_else(|| cannot(&path, &"it is gone"));
        }
        drop(file);
        self.read_from(0)
    }

    /// Reads commands from this byte of the file on.
    fn read_from(&self, offset: u64) -> Result<Stage, String> {
        let (file, _) = RealDisk
            .open(self.path(), offset)
            .map_err(|error| format!("{} cannot be read: {error}", self.path().display()))?;
        Ok(Stage::Commands(CommandReader::new(file, offset)))
    }

    /// Reads until there is something to be run, or the file ends; does a slice at most.
    fn read(
        &mut self,
        server: &Server,
        reader: &mut CommandReader<Box<dyn Read + Send>>,
        slice: Slice,
    ) -> Result<Found, String> {
        if self.multi_at.is_none() {
            self.batch.clear();
            self.done = 0;
        }
        loop {
            let begin = reader.offset();
            let before = self.batch.len();
            match reader.next(&mut self.batch) {
                Ok(Item::Time(_)) => {}
                Ok(Item::Command) => {
                    let name = self.batch.command(before).name();
                    if self.multi_at.is_some() {
                        if name.eq_ignore_ascii_case(b"EXEC") {
                            self.multi_at = None;
                            return Ok(Found::Something);
                        }
                    } else if name.eq_ignore_ascii_case(b"MULTI") {
                        self.multi_at = Some(begin);
                        self.done = 1;
                    } else {
                        return Ok(Found::Something);
                    }
                }
                Ok(Item::End) => {
                    return match self.multi_at {
                        None => Ok(Found::End),
                        Some(at) => {
                            tracing::warn!("Revert incomplete MULTI/EXEC transaction in AOF file {}", self.name());
                            self.torn(server, at)
                        }
                    };
                }
                Err(error) => return self.broken(server, &error, begin),
            }
            if slice.is_over(server) {
                return Ok(Found::Later);
            }
        }
    }

    fn broken(&mut self, server: &Server, error: &ReadError, begin: u64) -> Result<Found, String> {
        let name = self.name();
        match &error.problem {
            ReadProblem::Torn => self.torn(server, self.multi_at.unwrap_or(begin)),
            ReadProblem::Io(error) => Err(format!("Unrecoverable error reading the append only file {name}: {error}")),
            ReadProblem::Format(_) => {
                // A transaction that does not end is cut off as a whole.
                let fine = self.multi_at.unwrap_or(begin);
                Err(format!(
                    "Bad file format reading the append only file {name}: {error}; up to byte {fine} it is fine. Make a \
                     backup of the file, then use weir check-aof --fix <filename.manifest>, which cuts it off there"
                ))
            }
        }
    }

    /// The file ends in the middle of something that begins at `at`.
    fn torn(&mut self, server: &Server, at: u64) -> Result<Found, String> {
        let name = self.name();
        // The increment of a rewrite that had just begun may be behind another, and is empty then. A base is whole before it is named.
        let mut behind = self.parts.iter().skip(self.at + 1);
        let is_base = self.has_base && self.at == 0;
        if behind.any(|(_, bytes)| is_base || *bytes > 0) {
            return Err(format!(
                "Unexpected end of file reading the append only file {name} at byte {at}, and it is not the last one: \
                 what follows it would be wrong without what is missing. Restore it from a copy"
            ));
        }
        if !server.config.aof_load_truncated {
            return Err(format!(
                "Unexpected end of file reading the append only file {name} at byte {at}. Make a backup of the file, \
                 then use weir check-aof --fix <filename.manifest>, or set aof-load-truncated to yes and start again"
            ));
        }
        tracing::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
        tracing::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
        tracing::warn!("Truncating the AOF {name} at offset {at}");
        let cut = RealDisk.append(self.path()).and_then(|mut file| {
            file.set_len(at)?;
            file.sync_all()
        });
        cut.map_err(|error| format!("{} could not be cut off at byte {at}: {error}", self.path().display()))?;
        if let Some(part) = self.parts.get_mut(self.at) {
            part.1 = at;
        }
        self.multi_at = None;
        self.batch.clear();
        Ok(Found::End)
    }

    /// Runs what was read. Says whether all of it has run.
    fn run(&mut self, server: &mut Server, slot: Slot, offset: u64, slice: Slice) -> Result<bool, String> {
        let end = self.batch.len();
        // The EXEC at the end of a transaction is not run, nor is the MULTI in front of it.
        let last = if self.batch.command(0).name().eq_ignore_ascii_case(b"MULTI") { end - 1 } else { end };
        while self.done < last {
            let argv = self.batch.command(self.done);
            self.done += 1;
            self.commands += 1;
            match server.repeat(slot, argv) {
                Repeated::Done => {}
                Repeated::Unknown => {
                    return Err(format!(
                        "Unknown command '{}' reading the append only file {}, before byte {offset}",
                        argv.name().escape_ascii(),
                        self.name()
                    ));
                }
                Repeated::Impossible(error) => {
                    return Err(format!(
                        "{} reading the append only file {}, before byte {offset}",
                        String::from_utf8_lossy(error.text()),
                        self.name()
                    ));
                }
                // What follows it would get into another database.
                Repeated::Refused(error) if argv.name().eq_ignore_ascii_case(b"SELECT") => {
                    return Err(format!(
                        "SELECT {} was answered {} reading the append only file {}, before byte {offset}: are there as many \
                         'databases' as when it was written?",
                        argv.get(1).unwrap_or_default().escape_ascii(),
                        String::from_utf8_lossy(error.text()),
                        self.name()
                    ));
                }
                Repeated::Refused(error) => {
                    self.errors += 1;
                    if self.errors <= ERRORS_TOLD {
                        tracing::warn!(
                            "{}, before byte {offset}: {} was answered {}",
                            self.name(),
                            argv.name().escape_ascii(),
                            String::from_utf8_lossy(error.text())
                        );
                    }
                }
                Repeated::GoesOn => return Ok(false),
            }
            if slice.is_over(server) {
                break;
            }
        }
        Ok(self.done >= last)
    }

    fn end(&mut self, server: &mut Server) -> Result<(), String> {
        server.end_repeating();
        if let Some(slot) = self.slot.take() {
            server.clients.remove(slot);
        }
        server.layers_loaded(true);
        if self.errors > ERRORS_TOLD {
            tracing::warn!("{} commands of the append-only file were answered with an error", self.errors);
        }
        tracing::info!("{} commands of the append-only file were repeated", self.commands);
        if self.at_start {
            server.append_only_is_loaded()?;
        } else {
            server.go_on_with_append_only();
        }
        if let Some(waiter) = self.waiter.take() {
            server.tell_waiter(waiter, |reply| reply.ok());
        }
        Ok(())
    }
}

/// What reading has led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// There is something to be run.
    Something,
    /// The slice is over.
    Later,
    /// The file is at its end.
    End,
}

impl Load for AofLoad {
    fn step(&mut self, server: &mut Server, slice: Slice) -> Result<Progress, String> {
        let stepped = self.go_on(server, slice);
        // At the start the server ends then. Otherwise it goes on with what there is.
        if stepped.is_err() && !self.at_start {
            server.end_repeating();
            if let Some(slot) = self.slot.take() {
                server.clients.remove(slot);
            }
        }
        stepped
    }

    fn source(&self) -> &'static str {
        "append only file"
    }

    fn total_bytes(&self) -> u64 {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }

    fn loaded_bytes(&self) -> u64 {
        let before: u64 = self.parts.iter().take(self.at).map(|(_, bytes)| bytes).sum();
        before
            + match &self.stage {
                Stage::Open => 0,
                Stage::Snapshot(load) => load.loaded_bytes(),
                Stage::Commands(reader) | Stage::Run(reader) => reader.offset(),
            }
    }
}

impl AofLoad {
    fn go_on(&mut self, server: &mut Server, slice: Slice) -> Result<Progress, String> {
        let slot = match self.slot {
            Some(slot) => slot,
            None => {
                server.begin_repeating();
                *self.slot.insert(server.clients.add_repeater(server.store.now_ms()))
            }
        };
        loop {
            if server.scripts.is_suspended() {
                return Ok(Progress::Unfinished);
            }
            let stage = std::mem::replace(&mut self.stage, Stage::Open);
            self.stage = match stage {
                Stage::Open if self.at == self.parts.len() => {
                    self.end(server)?;
                    return Ok(Progress::Done);
                }
                Stage::Open => self.open(server)?,
                Stage::Snapshot(mut load) => match load.step(server, slice)? {
                    Progress::Unfinished => Stage::Snapshot(load),
                    Progress::Done => {
                        tracing::info!("Reading the remaining AOF tail...");
                        self.read_from(load.end_offset())?
                    }
                },
                Stage::Commands(mut reader) => match self.read(server, &mut reader, slice)? {
                    Found::Something => Stage::Run(reader),
                    Found::Later => Stage::Commands(reader),
                    Found::End => {
                        self.at += 1;
                        Stage::Open
                    }
                },
                Stage::Run(reader) => {
                    if self.run(server, slot, reader.offset(), slice)? {
                        Stage::Commands(reader)
                    } else {
                        Stage::Run(reader)
                    }
                }
            };
            if slice.is_over(server) {
                server.settle_garbage();
                return Ok(Progress::Unfinished);
            }
        }
    }
}

/// DEBUG LOADAOF: reads everything anew. `waiter` is answered when it is there; `None`: before this returns.
pub(super) fn load_again(server: &mut Server, waiter: Option<ClientId>) -> Result<bool, Error> {
    const FAILED: Error = Error::fixed("ERR Error trying to load the AOF files, check server logs.");
    let failed = |error: String| {
        tracing::error!("{error}");
        FAILED
    };
    server.rest_append_only();
    for index in 0..server.store.databases() {
        server.store.flush(index, false);
    }
    server.flush_functions(true);
    let load = match server.append_only_load() {
        Ok(Some(load)) => load,
        Ok(None) => {
            server.go_on_with_append_only();
            return Ok(false);
        }
        Err(error) => {
            server.go_on_with_append_only();
            return Err(failed(error));
        }
    };
    let load = load.again(waiter);
    if waiter.is_some() {
        server.begin_loading(Box::new(load));
        return Ok(true);
    }
    if let Err(error) = server.load_at_once(load) {
        server.go_on_with_append_only();
        return Err(failed(error));
    }
    Ok(false)
}
