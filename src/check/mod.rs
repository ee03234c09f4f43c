//! Tools that look at data files while no server has them: `weir check-rdb FILE`, `weir check-aof FILE`. They also go by the names under which Redis
//! and Valkey have them, as links to this program do.
//!
//! What they find goes to standard output, in lines that scripts written for those tools know; the exit code is 0 only if all
//! is well.

mod aof;
mod rdb;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// A tool, by the names that it goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tool {
    /// Looks at a snapshot.
    CheckRdb,
    /// Looks at an append-only file.
    CheckAof,
}

const NAMES: &[(&str, Tool)] = &[("check-rdb", Tool::CheckRdb), ("check-aof", Tool::CheckAof)];

impl Tool {
    /// Which tool a command line asks for, as a first word or as the program's name, and what is left for it.
    pub fn asked_for(args: &[OsString]) -> Option<(Tool, &[OsString])> {
        let (program, rest) = args.split_first()?;
        let program = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
        if let Some(own) = program.strip_prefix("redis-").or_else(|| program.strip_prefix("valkey-"))
            && let Some(tool) = Tool::named(own)
        {
            return Some((tool, rest));
        }
        let (word, rest) = rest.split_first()?;
        Some((Tool::named(word.to_str()?)?, rest))
    }

    fn named(name: &str) -> Option<Tool> {
        NAMES.iter().find(|(known, _)| *known == name).map(|&(_, tool)| tool)
    }

    /// Runs it. `now_ms`: Unix time, in milliseconds.
    pub fn run(self, args: &[OsString], now_ms: i64) -> ExitCode {
        match self {
            Tool::CheckRdb => rdb::run(args, now_ms),
            Tool::CheckAof => aof::run(args, now_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_found_by_first_word_and_by_the_programs_name() {
        let asked = |words: &[&str]| {
            let args: Vec<OsString> = words.iter().map(OsString::from).collect();
            Tool::asked_for(&args).map(|(tool, rest)| (tool, rest.len()))
        };
        assert_eq!(asked(&["weir", "check-rdb", "file"]), Some((Tool::CheckRdb, 1)));
        assert_eq!(asked(&["/usr/bin/redis-check-rdb", "file"]), Some((Tool::CheckRdb, 1)));
        assert_eq!(asked(&["redis-check-aof", "--fix", "file"]), Some((Tool::CheckAof, 2)));
        assert_eq!(asked(&["valkey-check-rdb"]), Some((Tool::CheckRdb, 0)));
        assert_eq!(asked(&["weir", "weir.conf", "check-rdb"]), None);
        assert_eq!(asked(&["redis-server", "weir.conf"]), None);
        assert_eq!(asked(&[]), None);
    }
}
