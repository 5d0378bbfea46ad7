//! How pydantic reads the text of a variable into a truth value or a number (its lax mode, as Prefect uses it).
//!
//! Found out by running pydantic 2.14: no white space round a truth value, white space round a number is fine,
//! a single `_` between digits too, `5.0` is a whole number, an empty text is none of them.

/// What a setting must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A truth value.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A number greater than zero; `nan` is not.
    PositiveFloat,
    /// `postgresql+asyncpg` or `sqlite+aiosqlite`, to the letter.
    Driver,
    /// A JSON object of settings, or `null`.
    Json,
}

impl Kind {
    /// Whether Prefect starts with `text` here.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Kind::Text => true,
            Kind::Bool => boolean(text).is_some(),
            Kind::Int => integer(text).is_some(),
            Kind::Float => float(text).is_some(),
            Kind::PositiveFloat => float(text).is_some_and(|number| number > 0.0),
            Kind::Driver => matches!(text, "postgresql+asyncpg" | "sqlite+aiosqlite"),
            Kind::Json => json(text).is_some_and(|value| value.is_object() || value.is_null()),
        }
    }

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::PositiveFloat => "positive-float",
            Kind::Driver => "driver",
            Kind::Json => "json",
        }
    }

    /// What to write, for a reader.
    pub fn wanted(self) -> &'static str {
        match self {
            Kind::Text => "a text",
            Kind::Bool => "`true` or `false`",
            Kind::Int => "a whole number",
            Kind::Float => "a number",
            Kind::PositiveFloat => "a number greater than 0",
            Kind::Driver => "`postgresql+asyncpg` or `sqlite+aiosqlite`",
            Kind::Json => "a JSON object",
        }
    }
}

/// JSON as Python reads it: `NaN` and `Infinity` are numbers, and none is out of range. Such numbers, and all with an
/// exponent, come back as 0; nobody asks for them.
pub fn json(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&plain_numbers(text)).ok())
}

/// The text with 0 for each number that only Python knows.
fn plain_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut rest) = (false, text);
    while let Some(c) = rest.chars().next() {
        let number =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(rest.len());
        if !in_string && is_pythons(&rest[..number]) {
            out.push('0');
            rest = &rest[number..];
            continue;
        }
        // A word that is none of those is skipped whole; in a string, `\"` is skipped with its backslash.
        let skipped = match c {
            '\\' if in_string => c.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8),
            '"' => {
                in_string = !in_string;
                1
            }
            _ if number > 0 => number,
            _ => c.len_utf8(),
        };
        out.push_str(&rest[..skipped]);
        rest = &rest[skipped..];
    }
    out
}

fn is_pythons(word: &str) -> bool {
    matches!(word, "NaN" | "Infinity" | "-Infinity") || is_out_of_range(word)
}

/// `1e999`: JSON's own shape, with an exponent.
fn is_out_of_range(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some((number, exponent)) = word.split_once(['e', 'E']) else { return false };
    let number = number.strip_prefix('-').unwrap_or(number);
    let (whole, part) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && part.is_none_or(digits)
        && digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

/// `1 on t true y yes` and `0 off f false n no`, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match () {
        () if is(&["1", "on", "t", "true", "y", "yes"]) => Some(true),
        () if is(&["0", "off", "f", "false", "n", "no"]) => Some(false),
        () => None,
    }
}

/// An optional sign, ASCII digits with single `_` between them, and any `.000` behind. Clamped to an `i64`.
pub fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() > 4300 {
        return None;
    }
    let (negative, rest) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let digits = match rest.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => rest,
    };
    let number = digits_with_separators(digits)?;
    Some(if negative { -number } else { number })
}

fn digits_with_separators(digits: &str) -> Option<i64> {
    let mut number: i64 = 0;
    let mut may_separate = false;
    for byte in digits.bytes() {
        match byte {
            b'0'..=b'9' => number = number.saturating_mul(10).saturating_add(i64::from(byte - b'0')),
            b'_' if may_separate => {}
            _ => return None,
        }
        may_separate = byte != b'_';
    }
    may_separate.then_some(number)
}

/// What Rust's `f64` reads, since pydantic's core is Rust, with single `_` allowed but at the ends.
pub fn float(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let separators_are_fine = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    (separators_are_fine && text.contains('_')).then(|| text.replace('_', "").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_truth_values_as_pydantic_does() {
        for text in ["1", "yes", "YES", "t", "T", "on", "oN", "y", "True", "tRuE"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["0", "no", "f", "off", "N", "false"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        for text in ["", " true", "true ", "2", "1.0", "enabled", "maybe", "ｔrue", "\u{212a}es"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }

    #[test]
    fn reads_whole_numbers_as_pydantic_does() {
        for (text, number) in [
            ("1", 1),
            ("+5", 5),
            ("-5", -5),
            (" 5 ", 5),
            ("5.0", 5),
            ("5.00", 5),
            ("1_000", 1000),
            ("00012", 12),
            ("+00012", 12),
            ("\u{a0}5", 5),
            ("1_0.00", 10),
            ("0_1", 1),
            ("-1_0", -10),
            ("\t7\n", 7),
        ] {
            assert_eq!(integer(text), Some(number), "{text:?}");
        }
        for text in [
            "",
            " ",
            "5.",
            "5.1",
            ".5",
            "1__0",
            "_1",
            "1_",
            "٣",
            "5e3",
            "0x10",
            "+ 5",
            "--5",
            "1 0",
            "5.0_0",
            "+.0",
            "1,000",
            "tcp://10.0.0.1:5432",
            "\u{1c}5",
            "\u{200b}5",
        ] {
            assert_eq!(integer(text), None, "{text:?}");
        }
        assert!(integer(&"9".repeat(4300)).is_some());
        assert!(integer(&"9".repeat(4301)).is_none());
    }

    #[test]
    fn reads_numbers_as_pydantic_does() {
        for text in [
            "1",
            "+5",
            " 5 ",
            "5.",
            ".5",
            "1_000",
            "inf",
            "nan",
            "-Infinity",
            "1e5",
            "1_0.0_1",
            "1_.0",
            "._5",
        ] {
            assert!(float(text).is_some(), "{text:?}");
        }
        for text in ["", "1__0", "_1", "1_", "1e", "0x10", "٣", "5f", ".", "+", ".e1", "none", "10s"] {
            assert!(float(text).is_none(), "{text:?}");
        }
        assert!(!Kind::PositiveFloat.accepts("0"));
        assert!(!Kind::PositiveFloat.accepts("nan"));
        assert!(Kind::PositiveFloat.accepts("inf"));
    }

    #[test]
    fn reads_json_as_python_does() {
        for text in [
            "{}",
            "null",
            r#"{"timeout":NaN}"#,
            r#"{"a":[Infinity,-Infinity , 1e999,-1E+400, 2.5],"b":"x\" NaN"}"#,
        ] {
            assert!(Kind::Json.accepts(text), "{text}");
        }
        assert_eq!(json(r#"{"a":NaN,"b":"\"NaN, 1e999"}"#).unwrap()["b"], "\"NaN, 1e999");
        for text in [
            "",
            "5",
            "[]",
            "{a:1}",
            r#"{"a":nan}"#,
            r#"{"a":NaNs}"#,
            r#"{"a":01}"#,
            r#"{"a":+1}"#,
            r#"{"a":-}"#,
        ] {
            assert!(!Kind::Json.accepts(text), "{text}");
        }
    }

    #[test]
    fn drivers_are_exact() {
        assert!(Kind::Driver.accepts("postgresql+asyncpg"));
        for text in ["", " postgresql+asyncpg", "POSTGRESQL+ASYNCPG", "postgresql"] {
            assert!(!Kind::Driver.accepts(text), "{text:?}");
        }
    }
}
