//! Libraries of functions as the server changes them: into the engine, into the table of functions, and out of both.
//!
//! A library gets into the table when its text has run and its names are free; until then all that it left in the engine is
//! given up again with a failure. What must stay true: what the engine keeps for functions is what the table knows.

use super::Server;
use crate::command::error::Error;
use crate::script::functions::{Dump, Existing, Library, Source};
use crate::script::{Answer, Ask, Kind};
use std::ffi::CStr;

/// What errors call a library's text.
const CHUNK_NAME: &CStr = c"@user_function";

/// How long a library may take to be loaded by a client, in ms.
const LOAD_MS_MAX: u64 = 500;

impl Server {
    /// Adds a library. Returns its name.
    ///
    /// # Errors
    /// It is not right, it takes too long, or a name is taken.
    pub(super) fn load_library(&mut self, text: &[u8], replace: bool) -> Result<String, Error> {
        let source = Source::parse(text)?;
        if !replace && self.functions.library(source.name.as_bytes()).is_some() {
            return Err(Error::library_exists(&source.name));
        }
        let library = self.compile_library(&source, text)?;
        self.add_libraries(vec![library], Existing::Replace)?;
        Ok(source.name)
    }

    /// Takes a library out. Says whether it was there.
    pub(super) fn delete_library(&mut self, name: &[u8]) -> bool {
        let library = self.functions.remove(name);
        let was_there = library.is_some();
        self.forget_libraries(library);
        was_there
    }

    /// Takes all libraries out, and gives the engine up: at once, or on another thread.
    pub(super) fn flush_functions(&mut self, at_once: bool) {
        self.functions.clear();
        self.drop_engine(Kind::Functions, at_once);
    }

    /// Adds the libraries in a dump.
    ///
    /// # Errors
    /// It is no dump, a library in it is not right, or a name is taken. Then nothing has changed.
    pub(super) fn restore_functions(&mut self, dump: &[u8], existing: Existing) -> Result<(), Error> {
        let mut dump = Dump::open(dump)?;
        let mut libraries = Vec::new();
        match self.compile_dump(&mut dump, &mut libraries) {
            Ok(()) => self.add_libraries(libraries, existing),
            Err(error) => {
                self.forget_libraries(libraries);
                Err(error)
            }
        }
    }

    fn compile_dump(&mut self, dump: &mut Dump<'_>, libraries: &mut Vec<Library>) -> Result<(), Error> {
        while let Some(text) = dump.next_library()? {
            let source = Source::parse(&text)?;
            if libraries.iter().any(|library| library.name() == source.name) {
                return Err(Error::library_exists(&source.name));
            }
            let library = self.compile_library(&source, &text)?;
            libraries.push(library);
        }
        Ok(())
    }

    /// Lets a library register its functions.
    fn compile_library(&mut self, source: &Source<'_>, text: &[u8]) -> Result<Library, Error> {
        let began = self.stats.now();
        let engine = self.engine(Kind::Functions);
        let compiled = engine.compile(source.body, CHUNK_NAME).map_err(|why| Error::library_not_compiled(&why))?;
        let mut ask = engine.load(compiled);
        while ask == Ask::Slice {
            let ms = self.stats.ticks.elapsed_ns(began, self.stats.now()) / 1_000_000;
            let answer = if ms > LOAD_MS_MAX { Answer::Die("FUNCTION LOAD timeout") } else { Answer::Go };
            ask = self.engine(Kind::Functions).resume(answer);
        }
        let registered = self.engine(Kind::Functions).loaded().map_err(|why| Error::library_not_loaded(&why))?;
        Library::new(&source.name, text, registered)
    }

    fn add_libraries(&mut self, libraries: Vec<Library>, existing: Existing) -> Result<(), Error> {
        if let Err(error) = self.functions.admit(&libraries, existing) {
            self.forget_libraries(libraries);
            return Err(error);
        }
        let gone = self.functions.add(libraries, existing);
        self.forget_libraries(gone);
        Ok(())
    }

    /// Gives up what libraries have in the engine.
    fn forget_libraries(&mut self, libraries: impl IntoIterator<Item = Library>) {
        let engine = self.engine(Kind::Functions);
        for library in libraries {
            for function in library.functions() {
                engine.forget(function.compiled);
            }
        }
    }
}
