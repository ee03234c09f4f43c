//! Which arguments are secrets, so that neither MONITOR nor a command log shows them.
//!
//! Whether something is secret is said by rows: [`Flags::SENSITIVE`] of a command, and the directive's own flag for CONFIG
//! SET. Only HELLO and MIGRATE, where the secret stands behind a word, have
//! rules of their own.

use super::table::Command;
use crate::command::args::is;
use crate::command::spec::Flags;
use crate::config;
use weir_resp::Argv;

/// What is shown in place of a secret.
const REDACTED: &[u8] = b"(redacted)";

/// Argument `at` of a call as it may be shown.
pub(super) fn shown<'a>(command: &Command, argv: Argv<'a>, at: usize) -> &'a [u8] {
    if arg_is_secret(command, argv, at) { REDACTED } else { argv.at(at) }
}

fn arg_is_secret(command: &Command, argv: Argv<'_>, at: usize) -> bool {
    if command.flags().contains(Flags::SENSITIVE) {
        let names = 1 + usize::from(command.full_name.contains('|'));
        return at >= names;
    }
    match command.full_name {
        "hello" => hello_arg_is_secret(argv, at),
        "migrate" => migrate_arg_is_secret(argv, at),
        "config|set" => at % 2 == 1 && at >= 3 && directive_is_secret(argv.at(at - 1)),
        _ => false,
    }
}

/// User name and password behind AUTH.
fn hello_arg_is_secret(argv: Argv<'_>, at: usize) -> bool {
    // HELLO <version> comes first; a name that is called like the option is not taken for it.
    let mut word = 2;
    while word < argv.len() {
        if is(argv.at(word), "AUTH") {
            if at == word + 1 || at == word + 2 {
                return true;
            }
            word += 3;
        } else {
            word += if is(argv.at(word), "SETNAME") { 2 } else { 1 };
        }
    }
    false
}

/// What stands behind AUTH and AUTH2.
fn migrate_arg_is_secret(argv: Argv<'_>, at: usize) -> bool {
    let mut word = 6;
    while word < argv.len() {
        let secrets = if is(argv.at(word), "AUTH") {
            1
        } else if is(argv.at(word), "AUTH2") {
            2
        } else if is(argv.at(word), "KEYS") {
            return false;
        } else {
            0
        };
        if (word + 1..=word + secrets).contains(&at) {
            return true;
        }
        word += 1 + secrets;
    }
    false
}

fn directive_is_secret(name: &[u8]) -> bool {
    config::find(name).is_some_and(|directive| directive.flags.has(config::Flags::SENSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::table::commands;
    use weir_resp::Batch;

    fn line_shown(line: &str) -> String {
        let mut batch = Batch::new();
        batch.push_command(line.split(' ').map(str::as_bytes)).unwrap();
        let argv = batch.command(0);
        let command = commands().iter().find(|c| is(argv.name(), c.full_name)).unwrap();
        let command = command.resolve(argv.get(1)).unwrap();
        let words = (0..argv.len()).map(|at| String::from_utf8_lossy(shown(command, argv, at)).into_owned());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn passwords_are_hidden_and_nothing_else_is() {
        for (line, wanted) in [
            ("AUTH joe pw", "AUTH (redacted) (redacted)"),
            ("auth pw", "auth (redacted)"),
            ("HELLO 3 AUTH joe pw SETNAME n", "HELLO 3 AUTH (redacted) (redacted) SETNAME n"),
            ("hello 3 setname auth auth joe pw", "hello 3 setname auth auth (redacted) (redacted)"),
            ("HELLO 2 AUTH joe", "HELLO 2 AUTH (redacted)"),
            ("HELLO 3", "HELLO 3"),
            ("CONFIG SET requirepass pw port 1", "CONFIG SET requirepass (redacted) port 1"),
            ("config set MASTERAUTH pw", "config set MASTERAUTH (redacted)"),
            ("CONFIG GET requirepass", "CONFIG GET requirepass"),
            ("SET requirepass pw", "SET requirepass pw"),
            ("MIGRATE h 1 k 0 5 COPY AUTH pw", "MIGRATE h 1 k 0 5 COPY AUTH (redacted)"),
            ("migrate h 1 e 0 5 auth2 joe pw keys auth k", "migrate h 1 e 0 5 auth2 (redacted) (redacted) keys auth k"),
        ] {
            assert_eq!(line_shown(line), wanted);
        }
    }
}
