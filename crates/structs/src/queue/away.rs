//! Bodies that are not in memory: what a parcel knows of one, and what it asks of whoever keeps it.
//!
//! A long queue may have the bodies of messages that are far from being handed out moved to a file. What is left in memory is
//! the head of the parcel and where its body is. The file is no more than memory that is elsewhere: it belongs to one run of
//! the server, and what is in it is also in what a restart reads, if the server keeps anything.
//!
//! Who reads a body says whether it may wait. Who may not wait is told that it is not here *yet*: asking for it is enough to
//! have it brought near.

use std::fmt;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// A file with bodies.
pub trait BodyFile: fmt::Debug + Send + Sync {
    /// Fills `to` with what begins at `offset`. With `wait`, that takes as long as the disk takes.
    ///
    /// # Errors
    /// Without `wait`: it is not near, and has been asked for. It cannot be read.
    fn read(&self, offset: u64, to: &mut [u8], wait: Wait) -> Result<(), NotRead>;

    /// A body that was written here has turned out to be another one.
    fn is_damaged(&self, offset: u64);
}

/// How long a body may be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// As long as it takes.
    UntilRead,
    /// Not at all.
    Never,
}

/// Why a body was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotRead {
    /// It will be near soon.
    Yet,
    /// It cannot be read, or is not what was written.
    Ever,
}

/// A file with bodies that parcels share; it is dropped with the last of them.
#[derive(Debug)]
pub struct Segment(Box<dyn BodyFile>);

impl Segment {
    /// Bodies in this file.
    pub fn new(file: Box<dyn BodyFile>) -> Arc<Segment> {
        Arc::new(Segment(file))
    }
}

/// Where a body is, and how to know it.
#[derive(Clone, Debug)]
pub struct BodyPlace {
    segment: Arc<Segment>,
    offset: u32,
    len: u32,
    check: u32,
}

impl BodyPlace {
    /// A body that stands at `offset` of a segment.
    pub fn new(segment: Arc<Segment>, offset: u32, len: u32, check: u32) -> BodyPlace {
        BodyPlace { segment, offset, len, check }
    }

    /// By what a body is known.
    pub fn check_of(body: &[u8]) -> u32 {
        xxh3_64(body) as u32
    }

    /// Its length.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Reads it to the end of `to`, which is as before where that fails.
    pub(super) fn read(&self, to: &mut [u8], wait: Wait) -> Result<(), NotRead> {
        self.segment.0.read(u64::from(self.offset), to, wait)?;
        if BodyPlace::check_of(to) == self.check {
            return Ok(());
        }
        self.segment.0.is_damaged(u64::from(self.offset));
        Err(NotRead::Ever)
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::queue::Parcel;
    use std::sync::Mutex;

    /// A file that is in memory all the same, and read by who waits.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct FileInMemory(Arc<Mutex<Contents>>);

    #[derive(Debug, Default)]
    struct Contents {
        bytes: Vec<u8>,
        is_near: bool,
        damaged: bool,
    }

    impl FileInMemory {
        /// The parcel with its body here.
        pub(crate) fn take(&self, parcel: &Parcel) -> Parcel {
            let body = parcel.body_here().expect("it is in memory").to_vec();
            let mut contents = self.0.lock().unwrap();
            let offset = contents.bytes.len() as u32;
            contents.bytes.extend_from_slice(&body);
            let segment = Segment::new(Box::new(self.clone()));
            parcel.with_body_at(BodyPlace::new(segment, offset, body.len() as u32, BodyPlace::check_of(&body)))
        }

        /// Everything is near from now on, or nothing.
        pub(crate) fn set_near(&self, is_near: bool) {
            self.0.lock().unwrap().is_near = is_near;
        }

        /// What is in it is not what was written.
        pub(crate) fn spoil(&self) {
            self.0.lock().unwrap().bytes.fill(b'?');
        }

        pub(crate) fn was_found_damaged(&self) -> bool {
            self.0.lock().unwrap().damaged
        }
    }

    impl BodyFile for FileInMemory {
        fn read(&self, offset: u64, to: &mut [u8], wait: Wait) -> Result<(), NotRead> {
            let contents = self.0.lock().unwrap();
            if wait == Wait::Never && !contents.is_near {
                return Err(NotRead::Yet);
            }
            let offset = offset as usize;
            to.copy_from_slice(contents.bytes.get(offset..offset + to.len()).ok_or(NotRead::Ever)?);
            Ok(())
        }

        fn is_damaged(&self, _: u64) {
            self.0.lock().unwrap().damaged = true;
        }
    }
}
