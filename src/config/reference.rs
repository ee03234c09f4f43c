//! The reference page's tables, made from the rows so that they cannot go stale.

use std::fmt::Write as _;

use super::directive::{Directive, Effect, Flags, IntUnit, Kind};
use super::rows::groups;
use super::syntax::format_memory;

/// One Markdown section with a table for each group of directives.
pub fn reference_tables() -> String {
    let mut page = String::new();
    for group in groups() {
        let _ = write!(page, "### {}\n\n{}\n\n", group.title, group.doc);
        page.push_str("| directive | value | default | change | effect | meaning |\n|---|---|---|---|---|---|\n");
        for directive in group.rows {
            let names: Vec<String> = directive.names().map(|name| format!("`{name}`")).collect();
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} |",
                names.join(" "),
                cell(&directive.type_name()),
                default_cell(directive),
                change_cell(directive.flags),
                cell(&effect_text(directive.effect)),
                cell(directive.doc),
            );
        }
        page.push('\n');
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn default_cell(directive: &Directive) -> String {
    if directive.default.is_empty() { String::from("-") } else { format!("`{}`", cell(directive.default)) }
}

fn change_cell(flags: Flags) -> String {
    let when = if flags.has(Flags::FILE_ONLY) {
        "file only"
    } else if flags.has(Flags::IMMUTABLE) {
        "at start"
    } else {
        "any time"
    };
    let notes = [(Flags::PROTECTED, "protected"), (Flags::SENSITIVE, "secret"), (Flags::HIDDEN, "hidden")];
    let notes = notes.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, note)| format!(", {note}"));
    when.to_owned() + &notes.collect::<String>()
}

fn effect_text(effect: Effect) -> String {
    match effect {
        Effect::Works => String::from("works"),
        Effect::Accepted { until, reason } => format!("with *{until}*: {reason}"),
        Effect::NotNeeded { reason } => format!("never: {reason}"),
    }
}

impl Directive {
    /// The type and range, for people.
    pub fn type_name(&self) -> String {
        match self.kind {
            Kind::Bool { .. } => String::from("yes or no"),
            Kind::Int { unit: IntUnit::Octal, min, max, .. } => format!("octal {min:o} to {max:o}"),
            Kind::Int { unit, min, max, .. } => format!("{} to {}", bound(unit, min), bound(unit, max)),
            Kind::Choice { names, .. } => names.join(", "),
            Kind::Text { .. } | Kind::OptionalText { .. } => String::from("text"),
            Kind::Secret { .. } => String::from("bytes"),
            Kind::Special(special) => special.type_name.to_owned(),
        }
    }
}

fn bound(unit: IntUnit, value: i128) -> String {
    match value {
        _ if value == i128::from(i32::MAX) => String::from("2^31-1"),
        _ if value == i128::from(i32::MIN) => String::from("-2^31"),
        _ if value == i128::from(u32::MAX) => String::from("2^32-1"),
        _ if value == i128::from(i64::MAX) => String::from("2^63-1"),
        _ if value == i128::from(i64::MIN) => String::from("-2^63"),
        _ if value == i128::from(u64::MAX) => String::from("2^64-1"),
        _ => match u64::try_from(value) {
            Ok(bytes) if unit == IntUnit::Memory => format_memory(bytes),
            _ => value.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- directives: begin -->\n";
    const END: &str = "<!-- directives: end -->";

    /// Run the tests with `WEIR_BLESS=1` to write the tables into the page.
    #[test]
    fn the_reference_page_shows_every_row() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let page = std::fs::read_to_string(path).expect("the reference page");
        let (head, rest) = page.split_once(BEGIN).expect("the begin mark");
        let (tables, tail) = rest.split_once(END).expect("the end mark");
        let expected = format!("\n{}", reference_tables());
        if std::env::var_os("WEIR_BLESS").is_some() {
            let blessed = [head, BEGIN, &expected, END, tail].concat();
            std::fs::write(path, blessed).expect("a writable page");
            return;
        }
        assert!(tables == expected, "docs/configuration.md is out of date: run the tests with WEIR_BLESS=1");
    }

    #[test]
    fn bounds_are_shown_as_powers_and_units() {
        assert_eq!(bound(IntUnit::Plain, 65535), "65535");
        assert_eq!(bound(IntUnit::Memory, 1 << 20), "1mb");
        assert_eq!(bound(IntUnit::Memory, -1), "-1");
        assert_eq!(bound(IntUnit::Plain, i128::from(i64::MAX)), "2^63-1");
    }
}
