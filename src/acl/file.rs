//! The file of users: one line a user, `user <name> <rules>`.
//!
//! A file is taken as a whole or not at all: every line is tried on users of its own before any of them counts, and all
//! faults are told at once, each with its line.

use super::catalog::Catalog;
use super::rules::{RuleError, check_name, merge_selectors};
use super::user::User;
use super::users::Users;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

/// Bytes of a file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of faults that are told.
const FAULTS_BYTES_MAX: usize = 16 * 1024;

/// Why a file was not taken. It is the text that clients see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileError(pub String);

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FileError {}

/// Reads the users of a file. `shown` is what the file is called in messages; `all_channels` as for [`User::new`].
///
/// # Errors
/// If the file cannot be read, or with everything that is wrong in it.
pub fn read_file(
    path: &Path,
    shown: &str,
    catalog: &'static Catalog,
    all_channels: bool,
) -> Result<Vec<User>, FileError> {
    let unreadable = |error: std::io::Error| {
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default();
        FileError(format!("Error loading ACLs, opening file '{shown}': {reason}"))
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError(format!("Error loading ACLs, file '{shown}' is larger than {FILE_BYTES_MAX} bytes")));
    }
    parse(&text, shown, &Users::new(catalog, all_channels))
}

/// Reads the text of a file. `fresh` knows what new users are like.
fn parse(text: &[u8], file: &str, fresh: &Users) -> Result<Vec<User>, FileError> {
    let mut users: Vec<User> = Vec::new();
    let mut names = std::collections::HashSet::new();
    let mut faults = String::new();
    let mut fault = |text: std::fmt::Arguments<'_>| {
        if faults.len() < FAULTS_BYTES_MAX {
            // Writing to a string cannot fail.
            let _ = faults.write_fmt(text);
        }
    };
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let [b"user", name, rules @ ..] = words.as_slice() else {
            fault(format_args!("{file}:{number} should start with user keyword followed by the username. "));
            continue;
        };
        let shown = String::from_utf8_lossy(name);
        if check_name(name).is_err() {
            fault(format_args!("{file}:{number}: username '{shown}' contains invalid characters. "));
            continue;
        }
        if !names.insert(*name) {
            fault(format_args!("WARNING: Duplicate user '{shown}' found on line {number}. "));
            continue;
        }
        let Ok(rules) = merge_selectors(rules.iter().copied()) else {
            fault(format_args!("{file}:{number}: Unmatched parenthesis in selector definition. "));
            continue;
        };
        let mut user = fresh.nobody_named(name);
        let mut told = false;
        for rule in rules {
            match user.apply(rule.trim_ascii(), fresh.catalog(), fresh.all_channels()) {
                Ok(()) => {}
                // What may hold a password is not repeated, and what comes behind may be wrong only because of it.
                Err(error @ RuleError::UnknownName) => {
                    let rule = String::from_utf8_lossy(&rule);
                    fault(format_args!("{file}:{number}: Error in applying operation '{rule}': {error}. "));
                }
                Err(error) if !told => {
                    told = true;
                    fault(format_args!("{file}:{number}: {error}. "));
                }
                Err(_) => {}
            }
        }
        users.push(user);
    }
    if faults.is_empty() {
        return Ok(users);
    }
    faults.push_str("WARNING: ACL errors detected, no change to the previously active ACL rules was performed");
    Err(FileError(faults))
}

/// Writes all users into a file, which is replaced as a whole: a crash leaves the old one or the new one.
///
/// # Errors
/// Those of the file system; the old file is then intact.
pub fn write_file(path: &Path, users: &Users) -> std::io::Result<()> {
    // Through a symbolic link the file behind it is replaced, not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut text = Vec::new();
    for user in users.iter() {
        text.extend_from_slice(b"user ");
        text.extend_from_slice(&user.line());
        text.push(b'\n');
    }
    crate::config::replace_file(&path, &text)
}

#[cfg(test)]
mod tests {
    use super::super::catalog::sample;
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let users = parse(text.as_bytes(), "f", &Users::new(sample(), false)).map_err(|error| error.0)?;
        Ok(users.iter().map(|user| String::from_utf8_lossy(&user.line()).into_owned()).collect())
    }

    #[test]
    fn lines_are_users_with_spaces_and_line_ends_as_people_leave_them() {
        let users = read("\n  user joe   on  nopass \r\n\nuser jim (+get ~a) +set").unwrap();
        assert_eq!(
            users,
            ["joe on nopass resetchannels -@all", "jim off resetchannels -@all +set (~a resetchannels -@all +get)"]
        );
        assert_eq!(read("").unwrap(), [""; 0]);
    }

    #[test]
    fn all_faults_are_told_with_their_lines() {
        let told =
            read("user a on foo bar +no +nix\nuser\n# c\nuser a on\nuser a\tb on\n\nuser x (+get\nuser y (+no)\n")
                .unwrap_err();
        let unknown = "Unknown command or category name in ACL";
        assert_eq!(
            told,
            format!(
                "f:1: Syntax error. f:1: Error in applying operation '+no': {unknown}. f:1: Error in applying operation '+nix': \
                 {unknown}. f:2 should start with user keyword followed by the username. f:3 should start with user keyword \
                 followed by the username. WARNING: Duplicate user 'a' found on line 4. f:5: username 'a\tb' contains invalid \
                 characters. f:7: Unmatched parenthesis in selector definition. f:8: Error in applying operation '(+no)': \
                 {unknown}. WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
            )
        );
    }

    #[test]
    fn faults_do_not_fill_memory() {
        let told = read(&"bad line\n".repeat(100_000)).unwrap_err();
        assert!(told.len() < 2 * FAULTS_BYTES_MAX, "{}", told.len());
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let told = read_file(Path::new("/nonexistent/f"), "f", sample(), false).unwrap_err().0;
        assert_eq!(told, "Error loading ACLs, opening file 'f': No such file or directory");
        let told = read_file(Path::new("/"), "f", sample(), false).unwrap_err().0;
        assert_eq!(told, "Error loading ACLs, opening file 'f': Is a directory");
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.acl");
        let mut users = Users::new(sample(), false);
        for (name, rules) in
            [("joe", &["on", ">a", "~x", "&y", "+get", "(%R~z db=1 +@all)"][..]), ("jim", &["+select|0"])]
        {
            let user = users.staged(name.as_bytes(), rules).unwrap();
            users.put(user);
        }
        write_file(&path, &users).unwrap();
        let read = read_file(&path, "f", sample(), false).unwrap();
        let lines = |users: &mut dyn Iterator<Item = Vec<u8>>| users.collect::<Vec<_>>();
        let mut read: Vec<Vec<u8>> = read.iter().map(User::line).collect();
        read.sort();
        assert_eq!(read, lines(&mut users.iter().map(User::line)));
        assert!(write_file(&folder.path().join("no/such"), &users).is_err());
    }
}
