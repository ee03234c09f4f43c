//! Start-up: a file or standard input, then the command line, become one [`Config`].
//!
//! The sources are read in that order and later ones win, except that lists such as `save` go on growing. A command
//! line is first turned into lines by redis-server's own rules, so everything is parsed by the same code and reported
//! in the same words. Reading is bounded: the size of a line, of all files together, and the depth and number of
//! includes are limited.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Glob;
use super::directive::{Directive, Effect, Flags};
use super::model::Config;
use super::rows::{directives, find};
use super::special::os_reason;
use super::syntax::{quote, split_arguments};

/// Bytes of one line.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Bytes of all files together.
const SOURCE_BYTES_MAX: u64 = 64 << 20;
/// How deep files may include files.
const INCLUDE_DEPTH_MAX: usize = 16;
/// Files that are read in all.
const INCLUDED_FILES_MAX: usize = 1024;
/// ENOENT, the same on every Unix.
const NO_SUCH_FILE: i32 = 2;
/// Bytes of a faulty line that an error repeats.
const SHOWN_BYTES_MAX: usize = 256;

/// Directives of older versions that mean nothing any more: name, and the piece of text that says so.
const DEPRECATED: [(&str, &str); 5] = [
    ("list-max-ziplist-entries", "list nodes are limited by list-max-listpack-size"),
    ("list-max-ziplist-value", "list nodes are limited by list-max-listpack-size"),
    ("lua-replicate-commands", "scripts are always replicated by their effects"),
    ("io-threads-do-reads", "I/O threads read whenever there are any"),
    ("events-per-io-thread", "I/O threads take what there is"),
];

/// Where settings come from.
pub struct Sources {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Standard input, when it holds settings too; read after the file, to its end.
    pub stdin: Option<Box<dyn Read>>,
    /// Command-line arguments behind the file name, as given: `--port`, `7000`, ...
    pub options: Vec<Vec<u8>>,
    /// Matches file names for `include`.
    pub glob: Glob,
}

impl Sources {
    /// Reads a command line (without the program's own name) by redis-server's rules: a first argument that does not
    /// begin with `-` is the file; `-` as the first or the last argument is standard input; all else are options.
    pub fn from_args(args: impl IntoIterator<Item = OsString>, glob: Glob) -> Self {
        let mut options: Vec<Vec<u8>> = args.into_iter().map(OsString::into_vec).collect();
        let mut from_stdin = false;
        let mut file = None;
        match options.first().map(Vec::as_slice) {
            Some(b"-") => {
                from_stdin = true;
                options.remove(0);
            }
            Some([first, ..]) if *first != b'-' => {
                file = Some(PathBuf::from(OsString::from_vec(options.remove(0))));
            }
            _ => {}
        }
        if options.last().is_some_and(|last| last == b"-") {
            from_stdin = true;
            options.pop();
        }
        let stdin = from_stdin.then(|| Box::new(io::stdin()) as Box<dyn Read>);
        Self { file, stdin, options, glob }
    }
}

/// What is known about a load besides the values.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Absolute path of the configuration file, which `CONFIG REWRITE` writes back to.
    pub config_file: Option<PathBuf>,
    /// Files that were included, in order.
    pub includes: Vec<PathBuf>,
    /// Directives that were set to something else than their default and have no effect yet.
    pub without_effect: Vec<&'static Directive>,
    /// Lines that were skipped because their directive means nothing any more.
    pub ignored: Vec<IgnoredLine>,
}

/// A line that was skipped.
#[derive(Debug, PartialEq, Eq)]
pub struct IgnoredLine {
    /// The directive.
    pub name: &'static str,
    /// Why it means nothing.
    pub reason: &'static str,
}

/// Where a faulty line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(PathBuf),
    /// On standard input.
    Stdin,
    /// Among the options of the command line, counted from 1.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Stdin => out.write_str("standard input"),
            Self::CommandLine => out.write_str("command line"),
        }
    }
}

/// Why the server cannot start with these settings. Shown, it is the whole message for standard error.
#[derive(Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A line is wrong.
    Line {
        /// Where it stands.
        origin: Origin,
        /// Its number there, from 1.
        line: usize,
        /// Its text, shortened.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The settings contradict each other.
    Conflict(&'static str),
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headline = concat!("*** FATAL CONFIG FILE ERROR (Weir ", env!("CARGO_PKG_VERSION"), ") ***");
        match self {
            Self::Line { origin, line, text, reason } => {
                writeln!(out, "{headline}")?;
                writeln!(out, "Reading the configuration file, at line {line} ({origin})")?;
                writeln!(out, ">>> '{text}'")?;
                write!(out, "{reason}")
            }
            Self::Unreadable { path, reason } => {
                write!(out, "Fatal error, can't open config file '{}': {reason}", path.display())
            }
            Self::Conflict(reason) => write!(out, "{headline}\n{reason}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads all sources into a configuration.
///
/// # Errors
/// The first faulty line, unreadable file or contradiction.
pub fn load(sources: Sources) -> Result<(Config, Loaded), LoadError> {
    let mut loader = Loader {
        config: Config::default(),
        loaded: Loaded::default(),
        save_seen: false,
        bytes_left: SOURCE_BYTES_MAX,
        glob: sources.glob,
    };
    loader.config.dir = match std::env::current_dir() {
        Ok(dir) => dir.to_string_lossy().into_owned(),
        Err(_) => ".".to_owned(),
    };
    if let Some(file) = sources.file {
        let path = Path::new(&loader.config.dir).join(file);
        loader.file(&path, 0)?;
        loader.loaded.config_file = Some(path);
    }
    if let Some(stdin) = sources.stdin {
        let name = Path::new("/dev/stdin");
        let text = loader.read(stdin, name)?;
        loader.lines(&text, &Origin::Stdin, 0)?;
    }
    loader.lines(&option_lines(&sources.options), &Origin::CommandLine, 0)?;
    loader.finish()
}

struct Loader {
    config: Config,
    loaded: Loaded,
    /// The first `save` replaces the default, further ones add.
    save_seen: bool,
    bytes_left: u64,
    glob: Glob,
}

impl Loader {
    fn finish(mut self) -> Result<(Config, Loaded), LoadError> {
        if self.config.cluster_enabled && self.config.replicaof.is_some() {
            return Err(LoadError::Conflict("replicaof directive not allowed in cluster mode"));
        }
        let defaults = Config::defaults();
        let idle = directives().filter(|directive| matches!(directive.effect, Effect::Accepted { .. }));
        // An empty value asks for nothing, so nobody has to be told that it does nothing.
        let asks = |directive: &&Directive| {
            let value = directive.get(&self.config);
            !value.is_empty() && value != directive.get(defaults)
        };
        self.loaded.without_effect = idle.filter(asks).collect();
        Ok((self.config, self.loaded))
    }

    fn file(&mut self, path: &Path, depth: usize) -> Result<(), LoadError> {
        let unreadable = |error: io::Error| LoadError::Unreadable { path: path.to_owned(), reason: os_reason(&error) };
        let file = File::open(path).map_err(unreadable)?;
        let text = self.read(Box::new(file), path)?;
        self.lines(&text, &Origin::File(path.to_owned()), depth)
    }

    fn read(&mut self, source: Box<dyn Read>, path: &Path) -> Result<Vec<u8>, LoadError> {
        let failed = |reason: String| LoadError::Unreadable { path: path.to_owned(), reason };
        let mut text = Vec::new();
        let read =
            source.take(self.bytes_left + 1).read_to_end(&mut text).map_err(|error| failed(os_reason(&error)))?;
        let left = u64::try_from(read).ok().and_then(|read| self.bytes_left.checked_sub(read));
        self.bytes_left = left.ok_or_else(|| failed(format!("more than {SOURCE_BYTES_MAX} bytes of settings")))?;
        Ok(text)
    }

    fn lines(&mut self, text: &[u8], origin: &Origin, depth: usize) -> Result<(), LoadError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            let faulty =
                |reason| LoadError::Line { origin: origin.clone(), line: index + 1, text: shortened(line), reason };
            match self.line(line) {
                Ok(None) => {}
                Ok(Some(pattern)) => self.include(&pattern, depth).map_err(|fault| fault.into_error(faulty))?,
                Err(reason) => return Err(faulty(reason)),
            }
        }
        Ok(())
    }

    /// Takes one line; gives the argument of an `include`.
    fn line(&mut self, line: &[u8]) -> Result<Option<Vec<u8>>, String> {
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(None);
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("Line is longer than {LINE_BYTES_MAX} bytes"));
        }
        if line.contains(&0) {
            return Err("Line holds a NUL byte: this is not a text file".to_owned());
        }
        let words = split_arguments(line).ok_or("Unbalanced quotes in configuration line")?;
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let Some((name, arguments)) = words.split_first() else {
            return Ok(None);
        };
        if name.eq_ignore_ascii_case(b"include") {
            return match arguments {
                [pattern] => Ok(Some(pattern.to_vec())),
                _ => Err("Bad directive or wrong number of arguments".to_owned()),
            };
        }
        match find(name) {
            Some(directive) => self.directive(directive, arguments).map(|()| None),
            None => self.unknown(name, arguments).map(|()| None),
        }
    }

    fn directive(&mut self, directive: &Directive, arguments: &[&[u8]]) -> Result<(), String> {
        if directive.name == "save" && !self.save_seen {
            self.save_seen = true;
            directive.clear(&mut self.config);
        }
        match arguments {
            // One quoted argument may hold the whole list.
            [list] if directive.flags.has(Flags::MULTI_ARG) => {
                let words: Vec<&[u8]> =
                    if list.is_empty() { Vec::new() } else { list.split(|byte| *byte == b' ').collect() };
                directive.set_arguments(&mut self.config, &words)
            }
            _ => directive.set_arguments(&mut self.config, arguments),
        }
    }

    fn unknown(&mut self, name: &[u8], arguments: &[&[u8]]) -> Result<(), String> {
        let deprecated = DEPRECATED.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
        match (deprecated, arguments) {
            (Some((name, reason)), [_]) => {
                self.loaded.ignored.push(IgnoredLine { name, reason });
                Ok(())
            }
            _ if name.eq_ignore_ascii_case(b"sentinel") => {
                Err("sentinel directive while not in sentinel mode".to_owned())
            }
            _ => Err("Bad directive or wrong number of arguments".to_owned()),
        }
    }

    /// Reads the files that an `include` names, seen from `dir` as it is set so far.
    fn include(&mut self, pattern: &[u8], depth: usize) -> Result<(), Fault> {
        if depth + 1 > INCLUDE_DEPTH_MAX {
            return Err(Fault::Line(format!("Files include each other more than {INCLUDE_DEPTH_MAX} levels deep")));
        }
        let given = Path::new(OsStr::from_bytes(pattern));
        if pattern.is_empty() {
            let reason = os_reason(&io::Error::from_raw_os_error(NO_SUCH_FILE));
            return Err(Fault::Inside(LoadError::Unreadable { path: given.to_owned(), reason }));
        }
        let path = Path::new(&self.config.dir).join(given);
        for path in matching_files(&path, self.glob) {
            if self.loaded.includes.len() >= INCLUDED_FILES_MAX {
                return Err(Fault::Line(format!("More than {INCLUDED_FILES_MAX} files are included")));
            }
            self.loaded.includes.push(path.clone());
            self.file(&path, depth + 1).map_err(Fault::Inside)?;
        }
        Ok(())
    }
}

/// What went wrong with an `include`.
enum Fault {
    /// Something in the included file.
    Inside(LoadError),
    /// The line that includes it.
    Line(String),
}

impl Fault {
    fn into_error(self, faulty: impl FnOnce(String) -> LoadError) -> LoadError {
        match self {
            Self::Inside(error) => error,
            Self::Line(reason) => faulty(reason),
        }
    }
}

/// The beginning of a faulty line, fit for a terminal.
fn shortened(line: &[u8]) -> String {
    let shown = line.get(..SHOWN_BYTES_MAX).unwrap_or(line);
    let text = String::from_utf8_lossy(shown);
    let mut text: String = text.chars().map(|character| if character.is_control() { '?' } else { character }).collect();
    if shown.len() < line.len() {
        text.push_str("...");
    }
    text
}

/// The files that a pattern names, in order of their names. A path without wildcards is itself, whether it exists or
/// not; a wildcard does not match a leading dot.
fn matching_files(pattern: &Path, glob: Glob) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str();
        if !name.as_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            found.iter_mut().for_each(|path| path.push(name));
            continue;
        }
        let mut next: Vec<PathBuf> = found
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().is_some_and(|file| wildcard(glob, name.as_bytes(), file.as_bytes())))
            .collect();
        next.sort();
        next.truncate(INCLUDED_FILES_MAX + 1);
        found = next;
    }
    let has_wildcard = pattern.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte));
    if has_wildcard {
        found.retain(|path| path.exists());
    }
    found
}

fn wildcard(glob: Glob, pattern: &[u8], file: &[u8]) -> bool {
    (!file.starts_with(b".") || pattern.starts_with(b".")) && glob(pattern, file, false)
}

/// Turns command-line options into lines, as redis-server does: `--name` begins a line, what follows are its arguments,
/// quoted. `--name` directly behind a `--name` is its argument, except behind `--save`, where it begins a line and the
/// points are empty. `--name value` in one argument is a line of its own.
fn option_lines(options: &[Vec<u8>]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut wants_value = false;
    let mut rest = options;
    while let Some((option, after)) = rest.split_first() {
        rest = after;
        match option.strip_prefix(b"--") {
            Some(name) if !wants_value => {
                if !lines.is_empty() {
                    lines.push(b'\n');
                }
                lines.extend_from_slice(name);
                lines.push(b' ');
                wants_value = split_arguments(option).is_some_and(|words| words.len() == 1);
                let value_follows = after.first().is_some_and(|next| !next.starts_with(b"--"));
                if wants_value && !value_follows && name.trim_ascii().eq_ignore_ascii_case(b"save") {
                    lines.extend_from_slice(b"\"\"");
                    wants_value = false;
                }
            }
            _ => {
                lines.extend_from_slice(quote(option).as_bytes());
                lines.push(b' ');
                wants_value = false;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::scratch_folder::ScratchFolder;
    use super::*;

    /// Literal characters and at most one `*`.
    fn glob(pattern: &[u8], text: &[u8], _nocase: bool) -> bool {
        let pattern = String::from_utf8_lossy(pattern).into_owned();
        let text = String::from_utf8_lossy(text);
        match pattern.split_once('*') {
            Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| rest.ends_with(tail)),
            None => *text == *pattern,
        }
    }

    fn load_args(args: &[&str]) -> Result<(Config, Loaded), LoadError> {
        load(Sources::from_args(args.iter().map(OsString::from), glob))
    }

    fn load_file(path: &Path) -> Result<(Config, Loaded), LoadError> {
        load(Sources { file: Some(path.to_owned()), stdin: None, options: Vec::new(), glob })
    }

    /// Loads text as if it stood on standard input.
    fn load_text(text: &[u8]) -> Result<Config, LoadError> {
        let stdin: Box<dyn Read> = Box::new(io::Cursor::new(text.to_vec()));
        load(Sources { file: None, stdin: Some(stdin), options: Vec::new(), glob }).map(|(config, _)| config)
    }

    fn reason(text: &str) -> String {
        match load_text(text.as_bytes()) {
            Err(LoadError::Line { reason, .. }) => reason,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// The command lines and their results are redis-server's.
    #[test]
    fn options_become_lines_as_in_redis_server() {
        let cases: [(&[&str], &str); 12] = [
            (&["--port", "7000"], "port \"7000\" "),
            (&["--save", "", "--bind", "a", "b"], "save \"\" \nbind \"a\" \"b\" "),
            (&["--save", "--port", "5"], "save \"\"\nport \"5\" "),
            (&["--save"], "save \"\""),
            (&["--SAVE"], "SAVE \"\""),
            (&["--save", "3600", "1"], "save \"3600\" \"1\" "),
            (&["--maxclients", "--save"], "maxclients \"--save\" "),
            (&["--maxclients 77", "--port", "1"], "maxclients 77 \nport \"1\" "),
            (&["--bind", "--save", "x"], "bind \"--save\" \"x\" "),
            (&["--requirepass", "a \"b"], "requirepass \"a \\\"b\" "),
            (&["-x"], "\"-x\" "),
            (&[], ""),
        ];
        for (options, lines) in cases {
            let options: Vec<Vec<u8>> = options.iter().map(|option| option.as_bytes().to_vec()).collect();
            assert_eq!(String::from_utf8_lossy(&option_lines(&options)), lines, "{options:?}");
        }
    }

    #[test]
    fn a_first_word_without_a_dash_is_the_file_and_a_lone_dash_is_standard_input() {
        let parse = |args: &[&str]| {
            let sources = Sources::from_args(args.iter().map(OsString::from), glob);
            (sources.file, sources.stdin.is_some(), sources.options.len())
        };
        assert_eq!(parse(&[]), (None, false, 0));
        assert_eq!(parse(&["x.conf", "--port", "1"]), (Some("x.conf".into()), false, 2));
        assert_eq!(parse(&["-"]), (None, true, 0));
        assert_eq!(parse(&["-", "--port", "1"]), (None, true, 2));
        assert_eq!(parse(&["x.conf", "--port", "1", "-"]), (Some("x.conf".into()), true, 2));
        assert_eq!(parse(&["--port", "1"]), (None, false, 2));
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_save_points_add_up() {
        let folder = ScratchFolder::new();
        let path = folder.file("a.conf", "save 1 1\nmaxclients 33\r\n# comment\n\n");
        let file = path.to_str().expect("a plain path");
        let (config, loaded) = load_args(&[file, "--maxclients", "44", "--save", "2 2"]).expect("valid settings");
        assert_eq!(config.maxclients, 44);
        let points: Vec<_> = config.save.iter().map(|point| (point.seconds, point.changes)).collect();
        assert_eq!(points, [(1, 1), (2, 2)]);
        assert_eq!(loaded.config_file, Some(path.clone()));
        let (config, _) = load_args(&[file, "--save", ""]).expect("valid settings");
        assert!(config.save.is_empty());
    }

    #[test]
    fn an_error_names_place_line_text_and_reason() {
        let folder = ScratchFolder::new();
        let path = folder.file("bad.conf", "port 1\n\n  port abc \n");
        let error = load_file(&path).expect_err("a faulty line");
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "*** FATAL CONFIG FILE ERROR (Weir {version}) ***\n\
             Reading the configuration file, at line 3 ({})\n\
             >>> 'port abc'\n\
             argument couldn't be parsed into an integer",
            path.display()
        );
        assert_eq!(error.to_string(), expected);
        let error = load_args(&["--port", "1", "--foo", "2"]).expect_err("an unknown directive");
        assert!(error.to_string().contains("at line 2 (command line)\n>>> 'foo \"2\"'\nBad directive"), "{error}");
    }

    #[test]
    fn faulty_lines_are_refused_in_the_words_of_redis() {
        let cases = [
            ("foo bar", "Bad directive or wrong number of arguments"),
            ("port", "wrong number of arguments"),
            ("port 1 2", "wrong number of arguments"),
            ("maxclients 5 # comment", "wrong number of arguments"),
            ("port \"1", "Unbalanced quotes in configuration line"),
            ("include a b", "Bad directive or wrong number of arguments"),
            ("rename-command a", "Bad directive or wrong number of arguments"),
            ("user", "Bad directive or wrong number of arguments"),
            ("list-max-ziplist-value 5 6", "Bad directive or wrong number of arguments"),
            ("sentinel monitor a b", "sentinel directive while not in sentinel mode"),
            ("save 1", "Invalid save parameters"),
            ("save \"1 2\" \"3 4\"", "Invalid save parameters"),
            ("replicaof a", "wrong number of arguments"),
            ("replicaof a b", "Invalid master port"),
            ("unixsocketperm 888", "argument couldn't be parsed as an octal number"),
            ("unixsocketperm 1777", "argument must be between 0 and 777 inclusive"),
            ("appendfilename a/b", "appendfilename can't be a path, just a filename"),
            ("appenddirname \"\"", "appenddirname can't be empty"),
            ("dbfilename \"\"", "dbfilename can't be empty"),
            ("cluster-config-file \"\"", "cluster-config-file can't be empty"),
            ("dir /no/such/folder", "No such file or directory"),
            ("dir \"\"", "dir can't be empty"),
            ("dir a b", "wrong number of arguments"),
            ("databases 0", "argument must be between 1 and 2147483647 inclusive"),
            ("oom-score-adj-values 1 2", "wrong number of arguments"),
            ("notify-keyspace-events K E", "wrong number of arguments"),
        ];
        for (line, expected) in cases {
            assert_eq!(reason(line), expected, "{line}");
        }
        assert_eq!(
            reason("user a on\nuser a on"),
            "Error in user declaration 'a': Duplicate user found. A user can only be defined once in config files"
        );
        let conflict = load_text(b"cluster-enabled yes\nreplicaof h 7");
        assert_eq!(conflict, Err(LoadError::Conflict("replicaof directive not allowed in cluster mode")));
    }

    #[test]
    fn lists_may_be_quoted_as_one_or_given_as_several_arguments() {
        let text = b"SAVE \"900 1\"\nsave 60 5\nbind a 'b'\noom-score-adj-values \"3 2 1\"\n\
            client-output-buffer-limit pubsub 1mb 2 3\nshutdown-on-sigint save now\nreplicaof Host 77\nsave\n\
            latency-tracking-info-percentiles \"\"\nmaxclients \"\\x35\"\nslave-priority 7\nunixsocketperm 770";
        let config = load_text(text).expect("valid settings");
        assert!(config.save.is_empty(), "a bare save takes all points away");
        assert_eq!(config.bind, ["a", "b"]);
        assert_eq!(config.oom_score_adj_values, [3, 2, 1]);
        assert_eq!(config.output_buffer_limit(crate::config::ClientClass::Pubsub).hard_bytes, 1 << 20);
        assert!(config.shutdown_on_sigint.save() && config.shutdown_on_sigint.now());
        assert_eq!(config.replicaof.as_ref().map(|primary| (primary.host.as_str(), primary.port)), Some(("Host", 77)));
        assert!(config.latency_tracking_info_percentiles.is_empty());
        assert_eq!((config.maxclients, config.replica_priority, config.unixsocketperm), (5, 7, 0o770));
    }

    #[test]
    fn lines_of_files_only_are_kept_for_their_rooms() {
        let text = b"user alice on >secret ~*\nuser bob off\nrename-command FLUSHALL \"\"\nloadmodule /m.so a b";
        let config = load_text(text).expect("valid settings");
        let users: Vec<_> = config.users.iter().map(|user| (user.name.as_slice(), user.rules.len())).collect();
        assert_eq!(users, [(&b"alice"[..], 3), (&b"bob"[..], 1)]);
        assert_eq!(config.renamed_commands.first().map(|line| line.to.as_str()), Some(""));
        assert_eq!(config.modules.first().map(|line| line.arguments.len()), Some(2));
    }

    #[test]
    fn includes_are_read_in_place_with_wildcards_and_from_dir() {
        let folder = ScratchFolder::new();
        folder.file("b1.conf", "maxclients 1\n");
        folder.file("b2.conf", "maxclients 2\n");
        folder.file(".b3.conf", "maxclients 3\n");
        let text = format!("dir {}\ninclude b*.conf\ninclude none*.conf\n", folder.path().display());
        let path = folder.file("a.conf", text);
        let (config, loaded) = load_file(&path).expect("valid settings");
        assert_eq!(config.maxclients, 2);
        assert_eq!(loaded.includes, [folder.path().join("b1.conf"), folder.path().join("b2.conf")]);
        assert_eq!(Path::new(&config.dir), folder.path());
    }

    #[test]
    fn a_fault_in_an_included_file_names_that_file() {
        let folder = ScratchFolder::new();
        let inner = folder.file("inner.conf", "\nport x\n");
        let outer = folder.file("outer.conf", format!("include {}\n", inner.display()));
        match load_file(&outer) {
            Err(LoadError::Line { origin, line, .. }) => assert_eq!((origin, line), (Origin::File(inner), 2)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_that_include_themselves_end_in_an_error() {
        let folder = ScratchFolder::new();
        let path = folder.path().join("loop.conf");
        folder.file("loop.conf", format!("include {}\n", path.display()));
        let error = load_file(&path).expect_err("endless includes");
        assert!(error.to_string().contains("more than 16 levels deep"), "{error}");
        folder.file("loop.conf", format!("include {}\n", folder.path().join("lo*.conf").display()));
        assert!(load_file(&path).is_err());
    }

    #[test]
    fn files_that_cannot_be_read_say_so() {
        let folder = ScratchFolder::new();
        let missing = folder.path().join("missing.conf");
        let error = load_file(&missing).expect_err("no file").to_string();
        let expected =
            format!("Fatal error, can't open config file '{}': No such file or directory", missing.display());
        assert_eq!(error, expected);
        let error = load_file(folder.path()).expect_err("a folder").to_string();
        assert!(error.ends_with("Is a directory"), "{error}");
        let error = load_text(b"include \"\"").expect_err("no name").to_string();
        assert!(error.ends_with("'': No such file or directory"), "{error}");
    }

    #[test]
    fn binary_garbage_and_endless_lines_are_refused() {
        assert_eq!(reason("maxclients 5\0x"), "Line holds a NUL byte: this is not a text file");
        let garbage: Vec<u8> = (1..=255).collect();
        assert!(matches!(load_text(&garbage), Err(LoadError::Line { .. })));
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        match load_text(long.as_bytes()) {
            Err(LoadError::Line { text, reason, .. }) => {
                assert!(text.len() < 300 && reason.contains("longer than"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        let endless = load(Sources { file: None, stdin: Some(Box::new(io::repeat(b'\n'))), options: Vec::new(), glob });
        let error = endless.expect_err("too much").to_string();
        assert!(error.contains("bytes of settings"), "{error}");
    }

    #[test]
    fn old_and_idle_directives_are_reported_and_not_refused() {
        let folder = ScratchFolder::new();
        let path = folder.file("a.conf", "lua-replicate-commands yes\nrepl-diskless-sync no\nsave \"\"\nport 1\n");
        let (_, loaded) = load_file(&path).expect("valid settings");
        assert_eq!(loaded.ignored.iter().map(|line| line.name).collect::<Vec<_>>(), ["lua-replicate-commands"]);
        assert_eq!(loaded.without_effect.iter().map(|row| row.name).collect::<Vec<_>>(), ["repl-diskless-sync"]);
    }

    #[test]
    fn dir_is_absolute_once_loaded() {
        let config = load_text(b"").expect("no settings at all");
        assert!(Path::new(&config.dir).is_absolute());
    }
}
