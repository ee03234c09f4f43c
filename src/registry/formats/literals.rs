//! Values that are written as numbers and truth values: those of which a reader that makes a number of them gives back the same
//! text. All others are written as texts, so that `1.10`, `007` and a number of twenty digits stay what they are.

/// Integers beyond this are not exact in a double.
const EXACT_MAX: i64 = 1 << 53;

/// Whether a value may be written without quotes as a number or as `true` or `false`: in JSON, TOML and YAML alike.
pub(super) fn is_literal(value: &str) -> bool {
    matches!(value, "true" | "false") || is_integer(value) || is_fraction(value)
}

fn is_integer(value: &str) -> bool {
    value.len() <= 17
        && value.parse::<i64>().is_ok_and(|number| number.abs() <= EXACT_MAX && number.to_string() == value)
}

fn is_fraction(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    value.len() <= 17
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.contains('.')
        && value.parse::<f64>().is_ok_and(|number| number.to_string() == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_number_would_change_is_no_literal() {
        for literal in ["0", "-1", "8080", "9007199254740992", "1.5", "-0.25", "true", "false"] {
            assert!(is_literal(literal), "{literal}");
        }
        for text in [
            "",
            "-",
            "-0",
            "+1",
            "01",
            "1.",
            ".5",
            "1.10",
            "1e3",
            "1_000",
            "0x10",
            "9007199254740993",
            "1.0",
            "True",
            "nan",
            "inf",
            "1.2.3",
            " 1",
            "0.1000000000000000055511151231257827",
        ] {
            assert!(!is_literal(text), "{text}");
        }
    }
}
