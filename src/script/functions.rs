//! Libraries of functions: what is loaded, under which names, and how that looks as a dump.
//!
//! ```text
//!   #!lua name=mylib                          first line: the language, and the library's name
//!   redis.register_function('f', ...)         the rest is run once, to register functions
//! ```
//!
//! A function is called by its name alone, in whatever case; so its name is taken for all libraries. A library comes and
//! goes as a whole: until all of it has been found right, nothing changes.
//!
//! Here is no Lua: what a function is for an engine is a number ([`Compiled`]), and whoever takes a library out gives its
//! numbers back to the engine. What must stay true: the table of functions has exactly those of the libraries.

use super::{Compiled, ScriptFlags};
use crate::command::error::Error;
use crate::config::split_arguments;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use weir_structs::crc64::crc64;
use weir_structs::lzf;

/// The one language there is.
const ENGINE: &str = "lua";

/// The text of a library, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its name: letters, digits and underscores.
    pub name: String,
    /// What is to be run: everything from the end of the first line on, so that lines keep their numbers.
    pub body: &'a [u8],
}

impl<'a> Source<'a> {
    /// Takes the text of a library apart.
    ///
    /// # Errors
    /// Its first line is missing, or does not say what it must.
    pub fn parse(text: &'a [u8]) -> Result<Source<'a>, Error> {
        if !text.starts_with(b"#!") {
            return Err(Error::LIBRARY_WITHOUT_METADATA);
        }
        let end = text.iter().position(|byte| matches!(byte, b'\n' | 0));
        let Some((line, body)) = end.filter(|at| text.get(*at) == Some(&b'\n')).map(|at| text.split_at(at)) else {
            return Err(Error::LIBRARY_METADATA_INVALID);
        };
        let words = split_arguments(line).filter(|words| !words.is_empty());
        let words = words.ok_or(Error::LIBRARY_METADATA_INVALID)?;
        let (engine, words) = words.split_first().ok_or(Error::LIBRARY_METADATA_INVALID)?;
        let mut name = None;
        for word in words {
            match word.split_at_checked(5) {
                Some((key, value)) if key.eq_ignore_ascii_case(b"name=") => {
                    if name.replace(value).is_some() {
                        return Err(Error::LIBRARY_NAME_TWICE);
                    }
                }
                _ => return Err(Error::library_metadata(word)),
            }
        }
        let name = valid_name(name.ok_or(Error::LIBRARY_NAME_MISSING)?).ok_or(Error::LIBRARY_NAME_INVALID)?.to_owned();
        let engine = engine.get(2..).unwrap_or_default();
        if !engine.eq_ignore_ascii_case(ENGINE.as_bytes()) {
            return Err(Error::no_such_engine(engine));
        }
        Ok(Source { name, body })
    }
}

/// The name of a library or function, if it may be one.
pub fn valid_name(name: &[u8]) -> Option<&str> {
    let is_right = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    std::str::from_utf8(name).ok().filter(|_| is_right)
}

/// A function as its library has registered it.
#[derive(Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its name: letters, digits and underscores.
    pub name: String,
    /// What it does, for people.
    pub description: Option<Box<[u8]>>,
    /// What it says of itself.
    pub flags: ScriptFlags,
    /// What it is for the engine.
    pub compiled: Compiled,
}

/// A function that can be called.
#[derive(Debug)]
pub struct Function {
    /// As it was registered.
    pub registered: Registered,
    library: Arc<str>,
}

/// A library that is loaded, or about to be.
#[derive(Debug)]
pub struct Library {
    name: Arc<str>,
    code: Box<[u8]>,
    functions: Vec<Arc<Function>>,
}

impl Library {
    /// Puts one together.
    ///
    /// # Errors
    /// It has no function.
    pub fn new(name: &str, code: &[u8], functions: Vec<Registered>) -> Result<Library, Error> {
        if functions.is_empty() {
            return Err(Error::LIBRARY_EMPTY);
        }
        let name: Arc<str> = name.into();
        let functions = functions
            .into_iter()
            .map(|registered| Arc::new(Function { registered, library: Arc::clone(&name) }))
            .collect();
        Ok(Library { name, code: code.into(), functions })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All of its text.
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// Its functions, in the order in which it registered them.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = &Registered> {
        self.functions.iter().map(|function| &function.registered)
    }

    /// Bytes beside those of the engine.
    fn memory(&self) -> usize {
        let functions: usize = self.functions().map(function_memory).sum();
        size_of::<Library>() + self.name.len() + self.code.len() + functions
    }
}

fn function_memory(function: &Registered) -> usize {
    let text = function.name.len() + function.description.as_ref().map_or(0, |text| text.len());
    // In its library's list and in the table.
    size_of::<Function>() + 2 * size_of::<Arc<Function>>() + text
}

/// What to do with libraries that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// They stay, and none may have the name of a new one.
    Keep,
    /// Those that have the name of a new one go.
    Replace,
    /// All of them go.
    Flush,
}

/// All libraries that are loaded.
#[derive(Debug, Default)]
pub struct Functions {
    libraries: BTreeMap<Arc<str>, Library>,
    /// By name in lower case.
    by_name: HashTable<Arc<Function>>,
    hasher: RandomState,
    memory: usize,
}

impl Functions {
    /// How many libraries there are.
    pub fn libraries_len(&self) -> usize {
        self.libraries.len()
    }

    /// How many functions there are in all of them.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.libraries.is_empty()
    }

    /// Bytes that all of it takes, without what the engine has.
    pub fn memory(&self) -> usize {
        size_of::<Functions>() + self.memory
    }

    /// The libraries, in the order of their names.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = &Library> {
        self.libraries.values()
    }

    /// The library with exactly this name.
    pub fn library(&self, name: &[u8]) -> Option<&Library> {
        self.libraries.get(std::str::from_utf8(name).ok()?)
    }

    /// The function with a name, in whatever case. Costs a few dozen nanoseconds.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Arc<Function>> {
        let hash = hash_name(&self.hasher, name);
        self.by_name.find(hash, |function| function.registered.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether these libraries could be added together.
    ///
    /// # Errors
    /// A name of a library or of a function is taken, by what stays or by another one of them.
    pub fn admit(&self, new: &[Library], existing: Existing) -> Result<(), Error> {
        let goes = |library: &str| match existing {
            Existing::Keep => false,
            Existing::Replace => new.iter().any(|new| *new.name == *library),
            Existing::Flush => true,
        };
        for library in new {
            if existing == Existing::Keep && self.libraries.contains_key(&library.name) {
                return Err(Error::restored_library_exists(&library.name));
            }
        }
        let mut among_new = Functions::default();
        for library in new {
            for function in &library.functions {
                let name = function.registered.name.as_str();
                let taken = self.find(name.as_bytes()).is_some_and(|function| !goes(&function.library));
                if taken || among_new.find(name.as_bytes()).is_some() {
                    return Err(Error::function_exists(name));
                }
                among_new.add_name(Arc::clone(function));
            }
        }
        Ok(())
    }

    /// Adds libraries that were [admitted](Functions::admit). Returns what had to go for them.
    pub fn add(&mut self, new: Vec<Library>, existing: Existing) -> Vec<Library> {
        let mut gone = match existing {
            Existing::Flush => self.clear(),
            Existing::Keep | Existing::Replace => Vec::new(),
        };
        gone.extend(new.iter().filter_map(|library| self.remove(library.name.as_bytes())));
        for library in new {
            for function in &library.functions {
                self.add_name(Arc::clone(function));
            }
            self.memory += library.memory();
            self.libraries.insert(Arc::clone(&library.name), library);
        }
        gone
    }

    /// Takes a library out.
    pub fn remove(&mut self, name: &[u8]) -> Option<Library> {
        let library = self.libraries.remove(std::str::from_utf8(name).ok()?)?;
        for function in &library.functions {
            let name = function.registered.name.as_bytes();
            let found = self.by_name.find_entry(hash_name(&self.hasher, name), |known| Arc::ptr_eq(known, function));
            if let Ok(entry) = found {
                entry.remove();
            }
        }
        self.memory -= library.memory();
        Some(library)
    }

    /// Takes all libraries out.
    pub fn clear(&mut self) -> Vec<Library> {
        self.by_name.clear();
        self.memory = 0;
        std::mem::take(&mut self.libraries).into_values().collect()
    }

    fn add_name(&mut self, function: Arc<Function>) {
        let hasher = &self.hasher;
        let hash = |function: &Arc<Function>| hash_name(hasher, function.registered.name.as_bytes());
        self.by_name.insert_unique(hash(&function), function, hash);
    }

    /// All libraries as bytes that [`Dump`] reads, as Redis 7 and Valkey do.
    pub fn dump(&self) -> Vec<u8> {
        let mut dump = Vec::new();
        for library in self.libraries() {
            dump.push(FUNCTION);
            write_string(library.code(), &mut dump);
        }
        dump.extend(VERSION_WRITTEN.to_le_bytes());
        dump.extend(crc64(0, &dump).to_le_bytes());
        dump
    }
}

/// Names differ by more than case.
fn hash_name(hasher: &RandomState, name: &[u8]) -> u64 {
    let mut lower = [0; 64];
    match lower.get_mut(..name.len()) {
        Some(lower) => {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            hasher.hash_one(&*lower)
        }
        None => hasher.hash_one(&*name.to_ascii_lowercase()),
    }
}

/// What stands before a library in an RDB file and in a dump.
const FUNCTION: u8 = 245;
/// The same as previews of Redis 7 wrote it.
const FUNCTION_PREVIEW: u8 = 246;

/// Version of the RDB format in dumps: the highest that Redis 7.2 to 8 and Valkey 7.2 to 9 all take.
const VERSION_WRITTEN: u16 = 11;
/// Versions that are read: up to Valkey 9's. The form of libraries is the same in all of them.
const VERSIONS_READ: std::ops::RangeInclusive<u16> = 1..=80;

/// Shorter texts are not compressed.
const COMPRESSED_MIN: usize = 21;

/// Appends a string of an RDB file: a length, or a mark and two lengths if it is compressed, and the bytes.
fn write_string(text: &[u8], output: &mut Vec<u8>) {
    // Worth it if at least four bytes are saved.
    let room = text.len().saturating_sub(4);
    if let Some(compressed) =
        Some(text).filter(|text| text.len() >= COMPRESSED_MIN).and_then(|t| lzf::compress(t, room))
    {
        output.push(0xC3);
        write_len(compressed.len(), output);
        write_len(text.len(), output);
        output.extend(compressed);
    } else {
        write_len(text.len(), output);
        output.extend(text);
    }
}

fn write_len(len: usize, output: &mut Vec<u8>) {
    match (u8::try_from(len), u16::try_from(len), u32::try_from(len)) {
        (Ok(len @ 0..=0x3F), ..) => output.push(len),
        (_, Ok(len @ 0..=0x3FFF), _) => output.extend((len | 0x4000).to_be_bytes()),
        (.., Ok(len)) => {
            output.push(0x80);
            output.extend(len.to_be_bytes());
        }
        _ => {
            output.push(0x81);
            output.extend((len as u64).to_be_bytes());
        }
    }
}

/// The libraries in a dump, one after the other: their texts.
#[derive(Debug)]
pub struct Dump<'a> {
    rest: &'a [u8],
}

impl<'a> Dump<'a> {
    /// Opens one.
    ///
    /// # Errors
    /// It is of a version that is not known, or not what was dumped.
    pub fn open(dump: &'a [u8]) -> Result<Dump<'a>, Error> {
        let read = || {
            let (summed, crc) = dump.split_last_chunk::<8>()?;
            let (rest, version) = summed.split_last_chunk::<2>()?;
            let is_whole = crc64(0, summed) == u64::from_le_bytes(*crc);
            (is_whole && VERSIONS_READ.contains(&u16::from_le_bytes(*version))).then_some(Dump { rest })
        };
        read().ok_or(Error::DUMP_PAYLOAD)
    }

    /// The text of the next library; `None` at the end.
    ///
    /// # Errors
    /// There is something else, or only a part of it.
    pub fn next_library(&mut self) -> Result<Option<Cow<'a, [u8]>>, Error> {
        match self.byte() {
            None => Ok(None),
            Some(FUNCTION) => self.string().map(Some).ok_or(Error::DUMP_LIBRARY),
            Some(FUNCTION_PREVIEW) => Err(Error::DUMP_FUNCTION_PREVIEW),
            Some(_) => Err(Error::DUMP_NOT_FUNCTION),
        }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        // Of the forms of a string, the numbers are none that a library could have.
        if self.rest.first() != Some(&0xC3) {
            let len = self.len()?;
            return self.take(len).map(Cow::Borrowed);
        }
        self.byte()?;
        let (compressed_len, len) = (self.len()?, self.len()?);
        lzf::decompress(self.take(compressed_len)?, len).map(Cow::Owned)
    }

    fn len(&mut self) -> Option<usize> {
        let first = self.byte()?;
        match first {
            0x00..=0x3F => Some(usize::from(first)),
            0x40..=0x7F => Some(usize::from(u16::from_be_bytes([first & 0x3F, self.byte()?]))),
            0x80 => usize::try_from(u32::from_be_bytes(self.array()?)).ok(),
            0x81 => usize::try_from(u64::from_be_bytes(self.array()?)).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, functions: &[&str]) -> Library {
        let functions = functions.iter().enumerate().map(|(number, name)| Registered {
            name: (*name).to_owned(),
            description: None,
            flags: ScriptFlags::empty(),
            compiled: Compiled(number as i32),
        });
        let code = format!("#!lua name={name}\n-- {}", "text ".repeat(name.len() * 20));
        Library::new(name, code.as_bytes(), functions.collect()).expect("it has functions")
    }

    fn names(functions: &Functions) -> Vec<&str> {
        functions.libraries().map(Library::name).collect()
    }

    #[test]
    fn the_first_line_says_language_and_name() {
        for (text, expected) in [
            ("#!lua name=lib\ncode", Ok(("lib", "\ncode"))),
            ("#!LUA NAME=lib\n", Ok(("lib", "\n"))),
            ("#!lua \"name=lib\"\r\n", Ok(("lib", "\n"))),
            ("code", Err(Error::LIBRARY_WITHOUT_METADATA)),
            ("#!lua name=lib", Err(Error::LIBRARY_METADATA_INVALID)),
            ("#!lua name=\0lib\n", Err(Error::LIBRARY_METADATA_INVALID)),
            ("#!lua name=\"lib\n", Err(Error::LIBRARY_METADATA_INVALID)),
            ("#!lua\n", Err(Error::LIBRARY_NAME_MISSING)),
            ("#!lua name=\n", Err(Error::LIBRARY_NAME_INVALID)),
            ("#!lua name=a-b\n", Err(Error::LIBRARY_NAME_INVALID)),
            ("#!lua name=a name=b\n", Err(Error::LIBRARY_NAME_TWICE)),
            ("#!lua nam\n", Err(Error::library_metadata(b"nam"))),
            ("#! lua name=a\n", Err(Error::library_metadata(b"lua"))),
            ("#!js name=a\n", Err(Error::no_such_engine(b"js"))),
        ] {
            let expected = expected.map(|(name, body)| Source { name: name.to_owned(), body: body.as_bytes() });
            assert_eq!(Source::parse(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn functions_are_found_in_whatever_case_and_go_with_their_library() {
        let mut functions = Functions::default();
        let empty = functions.memory();
        functions.add(vec![library("a", &["One", "two"]), library("b", &["three"])], Existing::Keep);
        assert_eq!((functions.len(), functions.libraries_len()), (3, 2));
        assert!(functions.find(b"oNE").is_some() && functions.find(b"four").is_none());
        assert!(functions.remove(b"A").is_none());
        assert!(functions.remove(b"a").is_some());
        assert!(functions.find(b"one").is_none() && functions.find(b"three").is_some());
        functions.clear();
        assert_eq!((functions.len(), functions.libraries_len(), functions.memory()), (0, 0, empty));
    }

    #[test]
    fn names_are_taken_once() {
        let mut functions = Functions::default();
        functions.add(vec![library("a", &["f"]), library("b", &["g"])], Existing::Keep);
        for (new, existing, expected) in [
            (vec![library("c", &["h"])], Existing::Keep, Ok(())),
            (vec![library("a", &["h"])], Existing::Keep, Err(Error::restored_library_exists("a"))),
            (vec![library("a", &["h"])], Existing::Replace, Ok(())),
            (vec![library("a", &["F"])], Existing::Replace, Ok(())),
            (vec![library("a", &["G"])], Existing::Replace, Err(Error::function_exists("G"))),
            (vec![library("a", &["g"]), library("b", &["f"])], Existing::Replace, Ok(())),
            (vec![library("c", &["h"]), library("d", &["H"])], Existing::Keep, Err(Error::function_exists("H"))),
            (vec![library("c", &["f"])], Existing::Flush, Ok(())),
        ] {
            assert_eq!(functions.admit(&new, existing), expected, "{new:?} {existing:?}");
        }
        let gone = functions.add(vec![library("a", &["h"])], Existing::Replace);
        assert_eq!(gone.iter().map(Library::name).collect::<Vec<_>>(), ["a"]);
        assert!(functions.find(b"f").is_none() && functions.find(b"h").is_some() && functions.find(b"g").is_some());
        assert_eq!(functions.add(vec![library("z", &["f"])], Existing::Flush).len(), 2);
        assert_eq!(names(&functions), ["z"]);
    }

    fn texts(dump: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let mut dump = Dump::open(dump)?;
        let mut texts = Vec::new();
        while let Some(text) = dump.next_library()? {
            texts.push(text.into_owned());
        }
        Ok(texts)
    }

    fn sealed(content: &[u8], version: u16) -> Vec<u8> {
        let mut dump = content.to_vec();
        dump.extend(version.to_le_bytes());
        dump.extend(crc64(0, &dump).to_le_bytes());
        dump
    }

    #[test]
    fn what_was_dumped_is_read_again() {
        let mut functions = Functions::default();
        assert_eq!(texts(&functions.dump()), Ok(vec![]));
        let long = "x".repeat(1_000);
        functions.add(vec![library("a", &["f"]), library(&long, &["g"])], Existing::Keep);
        let codes: Vec<Vec<u8>> = functions.libraries().map(|library| library.code().to_vec()).collect();
        assert_eq!(texts(&functions.dump()), Ok(codes));
    }

    /// The bytes are those that Redis 8.0.6 answered to FUNCTION DUMP.
    #[test]
    fn a_dump_of_redis_is_read() {
        let dump =
            b"\xf5\xc3@F@\xa8\x1f#!lua name=big\nredis.register_fu\nnction('f',\xe0\x00\x0c\n) return 'a\xe0Z\x00\
            \x05' end)\x0c\x00\xd4P\x0bF\xf6i\x9c3";
        let text = format!("#!lua name=big\nredis.register_function('f',function() return '{}' end)", "a".repeat(100));
        assert_eq!(texts(dump), Ok(vec![text.into_bytes()]));
    }

    #[test]
    fn a_dump_that_is_wrong_is_refused() {
        assert_eq!(texts(b""), Err(Error::DUMP_PAYLOAD));
        assert_eq!(texts(b"123456789"), Err(Error::DUMP_PAYLOAD));
        for (version, is_right) in [(0, false), (1, true), (11, true), (12, true), (80, true), (81, false)] {
            assert_eq!(texts(&sealed(b"\xf5\x01x", version)).is_ok(), is_right, "{version}");
        }
        let mut damaged = sealed(b"\xf5\x01x", 11);
        damaged[2] ^= 1;
        assert_eq!(texts(&damaged), Err(Error::DUMP_PAYLOAD));
        for (content, error) in [
            (&b"\xf6\x01x"[..], Error::DUMP_FUNCTION_PREVIEW),
            (b"\x00\x01x", Error::DUMP_NOT_FUNCTION),
            (b"\xf5\x01x\xff", Error::DUMP_NOT_FUNCTION),
            (b"\xf5", Error::DUMP_LIBRARY),
            (b"\xf5\x40", Error::DUMP_LIBRARY),
            (b"\xf5\x05abc", Error::DUMP_LIBRARY),
            (b"\xf5\x80\xff\xff\xff\xffabc", Error::DUMP_LIBRARY),
            (b"\xf5\x81\xff\xff\xff\xff\xff\xff\xff\xffabc", Error::DUMP_LIBRARY),
            (b"\xf5\x82abc", Error::DUMP_LIBRARY),
            (b"\xf5\xc0\x05", Error::DUMP_LIBRARY),
            (b"\xf5\xc3\x05\x80\xff\xff\xff\xffabcde", Error::DUMP_LIBRARY),
        ] {
            assert_eq!(texts(&sealed(content, 11)), Err(error), "{content:?}");
        }
    }
}
