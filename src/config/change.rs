//! `CONFIG GET` and `CONFIG SET`.
//!
//! A change is made on a copy of the configuration: either every pair is accepted and the copy is handed out to be
//! adopted, or the old values were never touched. Between the two the server may try what a row's [`super::Apply`] asks
//! for, such as opening a port, and drop the copy when that fails.

use std::fmt;

use super::Glob;
use super::directive::{Directive, Flags};
use super::model::Config;
use super::rows::{directives, find_name};

/// Names and values of every directive that one of the patterns matches, each name once.
///
/// A pattern without wildcards is a name: it finds hidden directives too and is given back as it was written. Names and
/// aliases are matched separately and without regard to ASCII case. Costs one comparison per pattern and name.
pub fn get(config: &Config, patterns: &[&[u8]], glob: Glob) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |name: &[u8], directive: &Directive| {
        if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            found.push((name.to_vec(), directive.get(config)));
        }
    };
    for pattern in patterns {
        if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
            if let Some((directive, _)) = find_name(pattern).filter(|(directive, _)| is_readable(directive)) {
                add(pattern, directive);
            }
            continue;
        }
        let visible = directives().filter(|directive| is_readable(directive) && !directive.flags.has(Flags::HIDDEN));
        for directive in visible {
            let names = directive.names().filter(|name| glob(pattern, name.as_bytes(), true));
            names.for_each(|name| add(name.as_bytes(), directive));
        }
    }
    found
}

fn is_readable(directive: &Directive) -> bool {
    !directive.flags.has(Flags::FILE_ONLY)
}

/// Why `CONFIG SET` changed nothing. Shown, it is the error line without its `ERR ` prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// No such directive.
    Unknown {
        /// The name as given.
        name: String,
    },
    /// A directive refused its value, or could not be applied.
    Failed {
        /// The directive's name or alias.
        name: &'static str,
        /// Why.
        reason: String,
    },
}

impl SetError {
    /// The error for a directive that the server could not apply.
    pub fn not_applied(directive: &Directive, reason: impl Into<String>) -> Self {
        Self::Failed { name: directive.name, reason: reason.into() }
    }
}

impl fmt::Display for SetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(out, "Unknown option or number of arguments for CONFIG SET - '{name}'"),
            Self::Failed { name, reason } => {
                write!(out, "CONFIG SET failed (possibly related to argument '{name}') - {reason}")
            }
        }
    }
}

impl std::error::Error for SetError {}

/// A change that was accepted and not yet adopted: assign `config` to adopt it, drop it to refuse.
#[derive(Debug)]
pub struct Staged {
    /// The configuration with the change made.
    pub config: Config,
    /// The directives whose values really differ now, each once, in the order given; their `apply` says who must act.
    pub changed: Vec<&'static Directive>,
}

/// Tries a change of several directives at once on a copy. `local` says that the client is connected from this machine,
/// which `enable-protected-configs local` asks for.
///
/// # Errors
/// The first name that is unknown, given twice, or not to be changed; then the first value that is refused.
pub fn stage(current: &Config, pairs: &[(&[u8], &[u8])], local: bool) -> Result<Staged, SetError> {
    let mut targets: Vec<(&'static Directive, &'static str, &[u8])> = Vec::with_capacity(pairs.len());
    for (given, value) in pairs {
        let found = find_name(given).filter(|(directive, _)| is_readable(directive));
        let Some((directive, name)) = found else {
            return Err(SetError::Unknown { name: String::from_utf8_lossy(given).into_owned() });
        };
        if let Some(reason) = forbidden(directive, current, local) {
            return Err(SetError::Failed { name, reason: reason.to_owned() });
        }
        if targets.iter().any(|(_, known, _)| *known == name) {
            return Err(SetError::Failed { name, reason: "duplicate parameter".to_owned() });
        }
        targets.push((directive, name, value));
    }
    let mut config = current.clone();
    for (directive, name, value) in &targets {
        directive.replace(&mut config, value).map_err(|reason| SetError::Failed { name, reason })?;
    }
    let mut changed: Vec<&'static Directive> = Vec::new();
    for (directive, _, _) in targets {
        if directive.get(current) != directive.get(&config) && !changed.contains(&directive) {
            changed.push(directive);
        }
    }
    Ok(Staged { config, changed })
}

fn forbidden(directive: &Directive, current: &Config, local: bool) -> Option<&'static str> {
    if directive.flags.has(Flags::IMMUTABLE) {
        return Some("can't set immutable config");
    }
    if directive.flags.has(Flags::PROTECTED) && !current.enable_protected_configs.allows(local) {
        return Some("can't set protected config");
    }
    None
}

/// Changes several directives at once, or none: [`stage`] and adopt. Gives those whose values differ now.
///
/// # Errors
/// As [`stage`].
pub fn set(config: &mut Config, pairs: &[(&[u8], &[u8])], local: bool) -> Result<Vec<&'static Directive>, SetError> {
    let staged = stage(config, pairs, local)?;
    *config = staged.config;
    Ok(staged.changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Apply;

    /// Enough of a glob for names: `*` at the end, and `?`.
    fn glob(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', [])), _) => true,
            (Some((b'*', rest)), Some((_, after))) => glob(rest, text, nocase) || glob(pattern, after, nocase),
            (Some((b'?', rest)), Some((_, after))) => glob(rest, after, nocase),
            (Some((left, rest)), Some((right, after))) => {
                (left == right || nocase && left.eq_ignore_ascii_case(right)) && glob(rest, after, nocase)
            }
            _ => false,
        }
    }

    fn shown(config: &Config, patterns: &[&str]) -> Vec<(String, String)> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        get(config, &patterns, glob).into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn names(config: &Config, patterns: &[&str]) -> Vec<String> {
        shown(config, patterns).into_iter().map(|(name, _)| name).collect()
    }

    fn value(config: &Config, name: &str) -> String {
        shown(config, &[name]).pop().map(|(_, value)| value).unwrap_or_default()
    }

    fn try_set(config: &mut Config, pairs: &[(&str, &str)]) -> String {
        let pairs: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        match set(config, &pairs, false) {
            Ok(changed) => format!("{changed:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_name_is_given_back_as_it_was_written_and_once() {
        let config = Config::default();
        assert_eq!(shown(&config, &["MAXMEMORY"]), [("MAXMEMORY".to_owned(), "0".to_owned())]);
        assert_eq!(names(&config, &["maxmemory", "MAXMEMORY", "maxmemor?"]), ["maxmemory"]);
        assert_eq!(names(&config, &["nope", "user", "include", "nope*"]), [""; 0]);
    }

    #[test]
    fn patterns_match_aliases_by_their_own_name_and_no_hidden_directive() {
        let config = Config::default();
        assert_eq!(names(&config, &["slave-p*"]), ["slave-priority"]);
        assert_eq!(names(&config, &["*-PRIORITY"]), ["replica-priority", "slave-priority"]);
        assert_eq!(names(&config, &["watchdog*"]), [""; 0]);
        assert_eq!(names(&config, &["watchdog-period"]), ["watchdog-period"]);
    }

    #[test]
    fn all_pairs_are_set_or_none() {
        let mut config = Config::default();
        assert_eq!(try_set(&mut config, &[("maxclients", "5"), ("hz", "x")]), FAILED_HZ);
        assert_eq!(config, Config::default());
        assert_eq!(try_set(&mut config, &[("maxclients", "5"), ("HZ", "20"), ("timeout", "0")]), "[maxclients, hz]");
        assert_eq!((config.maxclients, config.hz), (5, 20));
    }

    const FAILED_HZ: &str =
        "CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer";

    #[test]
    fn names_are_judged_before_values() {
        let failed =
            |name: &str, reason: &str| format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}");
        let unknown = "Unknown option or number of arguments for CONFIG SET - 'foo'";
        let immutable = "can't set immutable config";
        let mut config = Config::default();
        let mut check = |pairs: &[(&str, &str)], message: &str| assert_eq!(try_set(&mut config, pairs), message);
        check(&[("port", "zz"), ("foo", "1")], unknown);
        check(&[("foo", "1"), ("databases", "3")], unknown);
        check(&[("databases", "3"), ("foo", "1")], &failed("databases", immutable));
        check(&[("port", "zz"), ("databases", "3")], &failed("databases", immutable));
        check(&[("port", "zz"), ("PORT", "1")], &failed("port", "duplicate parameter"));
        check(&[("user", "x on")], "Unknown option or number of arguments for CONFIG SET - 'user'");
        check(&[("DIR", "/")], &failed("dir", "can't set protected config"));
        check(&[("slave-priority", "x")], &failed("slave-priority", "argument couldn't be parsed into an integer"));
        assert_eq!(config, Config::default());
    }

    #[test]
    fn a_name_and_its_alias_may_be_set_together_and_the_last_wins() {
        let mut config = Config::default();
        assert_eq!(try_set(&mut config, &[("slave-priority", "1"), ("replica-priority", "2")]), "[replica-priority]");
        assert_eq!(config.replica_priority, 2);
    }

    #[test]
    fn protected_directives_open_to_everybody_or_to_this_machine() {
        let pairs: [(&[u8], &[u8]); 1] = [(b"dbfilename", b"x.rdb")];
        let mut config = Config::default();
        config.enable_protected_configs = crate::config::LocalAccess::Local;
        assert!(stage(&config, &pairs, false).is_err());
        assert!(stage(&config, &pairs, true).is_ok());
        config.enable_protected_configs = crate::config::LocalAccess::Yes;
        assert!(stage(&config, &pairs, false).is_ok());
    }

    #[test]
    fn a_staged_change_leaves_the_old_values_until_it_is_adopted() {
        let config = Config::default();
        let staged = stage(&config, &[(b"port", b"7000")], false).expect("a valid port");
        assert_eq!((config.port, staged.config.port), (6379, 7000));
        let [port] = staged.changed.as_slice() else { panic!("one change") };
        assert_eq!(port.apply, Apply::Listeners);
        let reason = "Unable to listen on this port. Check server logs.";
        assert_eq!(
            SetError::not_applied(port, reason).to_string(),
            format!("CONFIG SET failed (possibly related to argument 'port') - {reason}")
        );
    }

    /// What Valkey 9.1 answers to `CONFIG SET name value`, and shows afterwards.
    #[test]
    fn values_are_read_and_refused_as_by_valkey() {
        let cases = [
            ("maxmemory", "1GB", Ok("1073741824")),
            ("maxmemory", "", Ok("0")),
            ("maxmemory", "18446744073709551615", Ok("18446744073709551615")),
            ("maxmemory", "1tb", Err("argument must be a memory value")),
            ("maxmemory", "99999999999gb", Err("argument must be a memory value")),
            ("maxclients", "0", Err("argument must be between 1 and 4294967295 inclusive")),
            ("proto-max-bulk-len", "0", Err("argument must be between 1048576 and 9223372036854775807 inclusive")),
            ("slot-migration-max-failover-repl-bytes", "-1", Ok("-1")),
            (
                "slot-migration-max-failover-repl-bytes",
                "-2",
                Err("argument must be between -1 and 9223372036854775807 inclusive"),
            ),
            ("hz", "0", Ok("1")),
            ("hz", "10000", Ok("500")),
            ("repl-backlog-size", "100", Ok("16384")),
            ("rdbcompression", "No", Ok("no")),
            ("rdbcompression", "true", Err("argument must be 'yes' or 'no'")),
            ("maxmemory-clients", "10%", Ok("10%")),
            ("maxmemory-clients", "0%", Ok("0")),
            ("maxmemory-clients", "101%", Err("percentage argument must be less or equal to 100")),
            ("maxmemory-clients", "-5%", Err("argument must be a memory or percent value")),
            ("appendfsync", "Always", Ok("always")),
            ("appendfsync", "x", Err("argument(s) must be one of the following: everysec, always, no")),
            ("oom-score-adj", "relative", Ok("yes")),
            ("tls-auth-clients-user", "cn", Ok("CN")),
            ("save", "900 1 300 10", Ok("900 1 300 10")),
            ("save", "", Ok("")),
            ("save", "900 0", Ok("900 0")),
            ("save", "0 1", Err("Invalid save parameters")),
            ("save", "900  1", Err("Invalid save parameters")),
            ("bind", "127.0.0.1 -::1", Ok("127.0.0.1 -::1")),
            ("bind", "", Ok("")),
            ("bind", "a a a a a a a a a a a a a a a a a", Err("Too many bind addresses specified.")),
            (
                "client-output-buffer-limit",
                "replica 1mb 1kb 60 normal 1 2 3",
                Ok("normal 1 2 3 slave 1048576 1024 60 pubsub 33554432 8388608 60"),
            ),
            (
                "client-output-buffer-limit",
                "normal 1 2",
                Err("Wrong number of arguments in buffer limit configuration."),
            ),
            (
                "client-output-buffer-limit",
                "master 1 2 3",
                Err("Invalid client class specified in buffer limit configuration."),
            ),
            (
                "client-output-buffer-limit",
                "normal 1 2 -3",
                Err("Error in hard, soft or soft_seconds setting in buffer limit configuration."),
            ),
            ("shutdown-on-sigterm", "force now save", Ok("save now force")),
            (
                "shutdown-on-sigterm",
                "save nosave",
                Err("shutdown options SAVE and NOSAVE can't be used simultaneously"),
            ),
            (
                "shutdown-on-sigterm",
                "",
                Err("argument(s) must be one of the following: default, save, nosave, now, force, safe, failover"),
            ),
            ("notify-keyspace-events", "KEg$lshzxetdmn", Ok("AKEm")),
            ("notify-keyspace-events", "Kq", Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")),
            ("latency-tracking-info-percentiles", "0.1 33.333333333 1e1 -0", Ok("0.1 33.333333 10 -0")),
            ("latency-tracking-info-percentiles", "nan", Err("Invalid latency-tracking-info-percentiles parameters")),
            (
                "latency-tracking-info-percentiles",
                "inf",
                Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"),
            ),
            ("oom-score-adj-values", "1000 0 -1000", Ok("1000 0 -1000")),
            ("oom-score-adj-values", "1 2", Err("wrong number of arguments")),
            (
                "oom-score-adj-values",
                "2001 0 0",
                Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000."),
            ),
            ("proc-title-template", "{title} {{x", Ok("{title} {{x")),
            ("proc-title-template", "{bad}", Err("template format is invalid or contains unknown variables")),
            ("locale-collate", "xx", Err("Invalid locale name")),
            ("cluster-announce-human-nodename", "a_b c", Err("Announced human node name contained invalid character")),
            ("cluster-announce-client-ipv6", "::ffff:1.2.3.4", Ok("::ffff:1.2.3.4")),
            ("cluster-announce-client-ipv4", "1.2.3", Err("Invalid IPv4 address")),
            ("requirepass", "a\0b", Ok("a\0b")),
            ("rdma-port", "5", Err("No RDMA building support.")),
            ("slowlog-log-slower-than", "-1", Ok("-1")),
        ];
        for (name, given, expected) in cases {
            let mut config = Config::default();
            let message = try_set(&mut config, &[(name, given)]);
            match expected {
                Ok(expected) => assert_eq!(value(&config, name), expected, "{name} {given}: {message}"),
                Err(reason) => {
                    let expected = format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}");
                    assert_eq!(message, expected, "{name} {given}");
                    assert_eq!(config, Config::default(), "{name} {given}");
                }
            }
        }
    }

    #[test]
    fn defragmentation_cannot_be_turned_on_by_a_client() {
        let mut config = Config::default();
        assert!(try_set(&mut config, &[("activedefrag", "yes")]).contains("Active defragmentation cannot be enabled"));
        assert!(!config.activedefrag);
    }

    #[test]
    fn bytes_that_are_no_text_are_taken_by_secrets_only() {
        let mut config = Config::default();
        let accepted = set(&mut config, &[(b"requirepass", b"\xff\0")], false);
        assert!(accepted.is_ok());
        assert_eq!(config.requirepass.as_deref(), Some(&b"\xff\0"[..]));
        for name in directives().filter(|row| !row.flags.has(Flags::SENSITIVE)).map(|row| row.name) {
            assert!(set(&mut config, &[(name.as_bytes(), b"\xff\0")], true).is_err(), "{name}");
        }
    }
}
