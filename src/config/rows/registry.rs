//! All tables together: iteration in the order of the reference page, and look-up by name.
//!
//! Look-up is a walk over some 250 names: it happens for lines of files and for CONFIG commands, never for ordinary
//! requests.

use super::super::directive::Directive;
use super::{cluster, data, logging, memory, network, persistence, process, replication, security, tls};

/// A table of directives of one subject.
#[derive(Debug)]
pub struct Group {
    /// Its heading.
    pub title: &'static str,
    /// What the directives have in common.
    pub doc: &'static str,
    /// The directives.
    pub rows: &'static [Directive],
}

static GROUPS: [Group; 10] = [
    Group {
        title: "Network",
        doc: "Where the server listens, how many clients it takes and how much they may send and leave unread.",
        rows: network::ROWS,
    },
    Group { title: "TLS", doc: "Encrypted connections.", rows: tls::ROWS },
    Group {
        title: "Process",
        doc: "How the server lives in the operating system: its folder, title, limits, signals and dangerous commands.",
        rows: process::ROWS,
    },
    Group {
        title: "Log and monitoring",
        doc: "What is written to the log, and what is remembered about slow or large commands.",
        rows: logging::ROWS,
    },
    Group { title: "Security", doc: "Passwords and users.", rows: security::ROWS },
    Group {
        title: "Memory",
        doc: "How much memory is used, what is given up when it runs out, and how it is freed.",
        rows: memory::ROWS,
    },
    Group {
        title: "Data types and scripts",
        doc: "When collections change to their large encoding, which events are published, how long scripts may run.",
        rows: data::ROWS,
    },
    Group { title: "Persistence", doc: "Snapshots and the append-only file.", rows: persistence::ROWS },
    Group { title: "Replication", doc: "Primaries and replicas.", rows: replication::ROWS },
    Group { title: "Cluster", doc: "Many primaries that share the key space by slots.", rows: cluster::ROWS },
];

/// The tables, in the order of the reference page.
pub fn groups() -> &'static [Group] {
    &GROUPS
}

/// Every directive.
pub fn directives() -> impl Iterator<Item = &'static Directive> {
    GROUPS.iter().flat_map(|group| group.rows)
}

/// The directive with that name or alias, ignoring ASCII case.
pub fn find(name: &[u8]) -> Option<&'static Directive> {
    find_name(name).map(|(directive, _)| directive)
}

/// The same, with the name or alias as it is spelled in the table.
pub(in crate::config) fn find_name(name: &[u8]) -> Option<(&'static Directive, &'static str)> {
    directives().find_map(|directive| {
        let known = directive.names().find(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some((directive, known))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::super::directive::{Flags, IntUnit, Kind};
    use super::super::super::model::Config;
    use super::*;

    /// Every name that Redis 8.0, Redis 7.0 or Valkey 9.1 knows.
    const KNOWN: &str = include_str!("known_names.txt");

    #[test]
    fn every_name_of_redis_and_valkey_is_known() {
        let missing: Vec<&str> = KNOWN.split_whitespace().filter(|name| find(name.as_bytes()).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(KNOWN.split_whitespace().count() > 250);
    }

    #[test]
    fn a_name_or_alias_belongs_to_one_row() {
        let mut seen = HashSet::new();
        for name in directives().flat_map(Directive::names) {
            assert!(seen.insert(name), "{name} twice");
            assert_eq!(name, name.to_ascii_lowercase());
        }
    }

    #[test]
    fn every_row_is_documented_in_one_sentence() {
        for directive in directives() {
            assert!(directive.doc.ends_with('.') && directive.doc.len() > 10, "{}", directive.name);
        }
    }

    #[test]
    fn every_default_is_what_is_shown_except_for_units() {
        let config = Config::default();
        for directive in directives().filter(|row| !row.flags.has(Flags::FILE_ONLY)) {
            let mut again = config.clone();
            let shown = directive.get(&config);
            let done = directive.replace(&mut again, &shown);
            assert_eq!(done, Ok(()), "{}", directive.name);
            if directive.name != "dir" {
                assert_eq!(config, again, "{}", directive.name);
            }
        }
    }

    #[test]
    fn the_bounds_of_an_integer_fit_its_field() {
        for directive in directives() {
            let Kind::Int { unit, min, max, get, set } = directive.kind else { continue };
            let mut config = Config::default();
            for bound in [min, max] {
                set(&mut config, bound);
                assert_eq!(get(&config), bound, "{}", directive.name);
            }
            assert!(unit == IntUnit::Memory || max <= i128::from(i64::MAX), "{}", directive.name);
        }
    }

    #[test]
    fn every_name_of_a_choice_is_accepted_and_shown() {
        for directive in directives() {
            let Kind::Choice { names, get, set } = directive.kind else { continue };
            let mut config = Config::default();
            for name in names {
                assert!(set(&mut config, &name.to_ascii_uppercase()), "{} {name}", directive.name);
                assert!(names.contains(&get(&config)));
            }
        }
    }
}
