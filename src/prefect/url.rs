//! A database URL, read by SQLAlchemy's own grammar.
//!
//! Prefect hands the text to `make_url` (`sqlalchemy/engine/url.py`), one regular expression that is no RFC 3986:
//!
//! ```text
//! name[\w+]+ :// (user[^:/]* (: password[^@]*)? @)? ( [ v6[^/?]+ ] | host[^/:?]+ )? (: port[^/?]*)?
//!                (/ database[^?]*)? (? query.*)?
//! ```
//!
//! It is matched at the start only, so what follows the match is dropped in silence. User, password and database
//! are percent-decoded, the host is not. The port goes through Python's `int()`, the query through
//! `urllib.parse.parse_qsl`.

use std::borrow::Cow;

use crate::environment::HIDDEN;

/// The character classes of the grammar: the characters that end each part.
///
/// A table rather than code so that a test can break one class and see that the comparison with the real
/// Prefect notices.
#[derive(Debug, Clone, Copy)]
pub struct Grammar {
    /// What ends the user.
    pub user: &'static [char],
    /// What ends the password.
    pub password: &'static [char],
    /// What ends a host name.
    pub host: &'static [char],
    /// What ends a host in brackets, besides its last bracket.
    pub bracketed: &'static [char],
    /// What ends the port.
    pub port: &'static [char],
    /// What ends the database.
    pub database: &'static [char],
    /// What ends the query: Python's `.` takes anything but a line feed.
    pub query: &'static [char],
}

/// The grammar of SQLAlchemy 2.0 and 2.1.
pub const SQLALCHEMY: Grammar = Grammar {
    user: &[':', '/'],
    password: &['@'],
    host: &['/', ':', '?'],
    bracketed: &['/', '?'],
    port: &['/', '?'],
    database: &['?'],
    query: &['\n'],
};

/// A parsed URL. Parts may hold [`HIDDEN`] for pieces that the manifest does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Url<'u> {
    /// Dialect and driver: `postgresql+asyncpg`.
    pub name: &'u str,
    /// The user, decoded.
    pub user: Option<Cow<'u, str>>,
    /// The password, decoded.
    pub password: Option<Cow<'u, str>>,
    /// The host as written, without brackets.
    pub host: Option<&'u str>,
    /// The port.
    pub port: Option<Port>,
    /// The port goes on with a comma: more hosts were meant.
    pub port_is_list: bool,
    /// The database, decoded.
    pub database: Option<Cow<'u, str>>,
    /// The options, decoded, in the order written; blank ones are dropped as `parse_qsl` drops them.
    pub options: Vec<(Cow<'u, str>, Cow<'u, str>)>,
    /// The query holds an `@`: it may be the rest of a password that was not percent-encoded.
    pub suspicious_query: bool,
    /// What follows the match and is ignored by SQLAlchemy.
    pub ignored: &'u str,
}

/// A URL may hold a password: only its dialect is shown.
impl std::fmt::Debug for Url<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Url").finish_non_exhaustive()
    }
}

/// A port as Python's `int()` reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// A number, in range or not; larger ones than an `i64` are clamped.
    Number(i64),
    /// Not visible.
    Hidden,
    /// No number (`int()` raises `ValueError`), the empty text included.
    Broken,
}

impl Port {
    /// Reads a port.
    pub fn read(text: &str) -> Port {
        if text.contains(HIDDEN) { Port::Hidden } else { python_int(text).map_or(Port::Broken, Port::Number) }
    }
}

impl<'u> Url<'u> {
    /// Parses `text`; `None` where `make_url` raises `Could not parse SQLAlchemy URL from given URL string`.
    pub fn parse(text: &'u str, grammar: &Grammar) -> Option<Self> {
        let name_end = text.find(|c: char| !is_name_character(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(name_end);
        let rest = rest.strip_prefix("://").filter(|_| !name.is_empty())?;
        let (user, password, rest) = user_and_password(rest, grammar);
        let (host, rest) = host(rest, grammar);
        let (port, rest) = part(rest, ':', grammar.port);
        let (database, rest) = part(rest, '/', grammar.database);
        let (query, ignored) = part(rest, '?', grammar.query);
        Some(Url {
            name,
            user: user.map(unquote),
            password: password.map(unquote),
            host: host.filter(|host| !host.is_empty()),
            port: port.map(Port::read),
            port_is_list: port.is_some_and(|port| port.contains(',')),
            database: database.map(unquote),
            options: query.map(parse_qsl).unwrap_or_default(),
            suspicious_query: query.is_some_and(|query| query.contains('@')),
            ignored,
        })
    }

    /// All values of the option `name`, in order.
    pub fn option(&self, name: &str) -> impl Iterator<Item = &str> {
        self.options.iter().filter(move |(key, _)| key == name).map(|(_, value)| &**value)
    }
}

/// `\w` of a Python pattern over text, and `+`. A hidden piece may be part of a name too.
fn is_name_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '+' || c == HIDDEN
}

/// `(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?` with its backtracking.
fn user_and_password<'u>(text: &'u str, grammar: &Grammar) -> (Option<&'u str>, Option<&'u str>, &'u str) {
    let user_end = text.find(grammar.user).unwrap_or(text.len());
    if let Some(after) = text[user_end..].strip_prefix(':')
        && let Some(at) = after.find(grammar.password)
        && after[at..].starts_with('@')
    {
        return (Some(&text[..user_end]), Some(&after[..at]), &after[at + 1..]);
    }
    // No password: the user gives characters back until an `@` follows, so the last one counts.
    match text[..user_end].rfind('@') {
        Some(at) => (Some(&text[..at]), None, &text[at + 1..]),
        None => (None, None, text),
    }
}

/// `(?:\[(?P<ipv6host>[^/\?]+)\]|(?P<ipv4host>[^/:\?]+))?`
fn host<'u>(text: &'u str, grammar: &Grammar) -> (Option<&'u str>, &'u str) {
    if let Some(inside) = text.strip_prefix('[') {
        let reach = inside.find(grammar.bracketed).unwrap_or(inside.len());
        if let Some(close) = inside[..reach].rfind(']').filter(|close| *close > 0) {
            return (Some(&inside[..close]), &inside[close + 1..]);
        }
    }
    let end = text.find(grammar.host).unwrap_or(text.len());
    (Some(&text[..end]), &text[end..])
}

/// An optional part that `lead` opens and one of `ends` closes.
fn part<'u>(text: &'u str, lead: char, ends: &[char]) -> (Option<&'u str>, &'u str) {
    match text.strip_prefix(lead) {
        Some(inside) => {
            let end = inside.find(ends).unwrap_or(inside.len());
            (Some(&inside[..end]), &inside[end..])
        }
        None => (None, text),
    }
}

/// `urllib.parse.unquote`: valid `%XX` become bytes, read as UTF-8 with replacement; anything else stays.
pub fn unquote(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    percent_encoding::percent_decode_str(text).decode_utf8_lossy()
}

/// `urllib.parse.parse_qsl` without blank values: only `&` separates, the first `=` divides, `+` is a blank.
fn parse_qsl(query: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (unquote_plus(name), unquote_plus(value)))
        .collect()
}

fn unquote_plus(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(unquote(&spaced).into_owned());
    }
    unquote(text)
}

/// Python's `int(text)` in base ten: white space round it, a sign, `_` between digits, the decimal digits of any
/// script, at most 4300 digits (`sys.set_int_max_str_digits`). Larger numbers than an `i64` are clamped.
pub fn python_int(text: &str) -> Option<i64> {
    let text = trim_number(text);
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let mut number: i64 = 0;
    let mut count = 0;
    let mut may_separate = false;
    for c in digits.chars() {
        if c == '_' {
            if !may_separate {
                return None;
            }
            may_separate = false;
            continue;
        }
        number = number.saturating_mul(10).saturating_add(i64::from(decimal(c)?));
        count += 1;
        may_separate = true;
    }
    let complete = may_separate && count <= 4300;
    complete.then_some(if negative { -number } else { number })
}

/// Takes away the white space that Python allows round a number. An ASCII text goes to C's `isspace` as it is;
/// any other has its Unicode white space turned to blanks first (`_PyUnicode_TransformDecimalAndSpaceToASCII`).
pub fn trim_number(text: &str) -> &str {
    if text.is_ascii() {
        return text.trim_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    }
    text.trim_matches(is_python_space)
}

/// `str.isspace` of Python: Unicode white space and the four separators U+001C to U+001F.
pub fn is_python_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// The value of a decimal digit of any script (general category Nd).
pub(super) fn decimal(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.to_digit(10).map(|digit| digit as u8);
    }
    let code = u32::from(c);
    let next = ZEROS.partition_point(|zero| *zero <= code);
    let zero = *ZEROS.get(next.checked_sub(1)?)?;
    u8::try_from(code - zero).ok().filter(|digit| *digit < 10)
}

/// The zeros of the scripts with decimal digits, beyond ASCII, in order (Unicode 14, as Python 3.11 has it; later
/// versions add scripts that nobody writes a port in).
const ZEROS: [u32; 65] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
    0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0,
    0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50,
    0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140,
    0x1e2f0, 0x1e950, 0x1fbf0,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Url<'_> {
        Url::parse(text, &SQLALCHEMY).unwrap()
    }

    #[test]
    fn reads_a_whole_url() {
        let url = parse("postgresql+asyncpg://u%40x:p%2Fw@db.example:5432/name%20x?ssl=require&a=b+c");
        assert_eq!(url.name, "postgresql+asyncpg");
        assert_eq!(url.user.as_deref(), Some("u@x"));
        assert_eq!(url.password.as_deref(), Some("p/w"));
        assert_eq!(url.host, Some("db.example"));
        assert_eq!(url.port, Some(Port::Number(5432)));
        assert_eq!(url.database.as_deref(), Some("name x"));
        assert_eq!(url.options, [("ssl".into(), "require".into()), ("a".into(), "b c".into())]);
    }

    #[test]
    fn a_raw_password_may_hold_all_but_an_at_sign() {
        for password in ["p/1", "p#1", "p?1", "p:1", "p[1", "p 1", "p%zz", "pé", "p\n1", "p&=1"] {
            let text = format!("postgresql+asyncpg://u:{password}@h:1/d");
            let url = parse(&text);
            assert_eq!(url.password.as_deref(), Some(password));
            assert_eq!((url.host, url.database.as_deref()), (Some("h"), Some("d")), "{password}");
        }
        let url = parse("postgresql+asyncpg://u:p@1@h:1/d");
        assert_eq!((url.password.as_deref(), url.host), (Some("p"), Some("1@h")));
    }

    #[test]
    fn without_a_password_the_last_at_sign_before_a_colon_or_slash_counts() {
        let url = parse("postgresql+asyncpg://a@b@c:5/d@e");
        assert_eq!((url.user.as_deref(), url.host), (Some("a@b@c"), Some("e")), "`5/d` is the password");
        let url = parse("postgresql+asyncpg://a@b@c/d");
        assert_eq!(
            (url.user.as_deref(), url.host, url.database.as_deref()),
            (Some("a@b"), Some("c"), Some("d"))
        );
        let url = parse("postgresql+asyncpg://us/er:pw@h/d");
        assert_eq!((url.user.as_deref(), url.host), (None, Some("us")));
    }

    #[test]
    fn reads_hosts_in_brackets_and_drops_what_follows_them() {
        let url = parse("postgresql+asyncpg://u:p@[::1]:5/d");
        assert_eq!((url.host, url.port), (Some("::1"), Some(Port::Number(5))));
        let url = parse("postgresql+asyncpg://u:p@[::1]x:5/d");
        assert_eq!((url.host, url.port, url.database.as_deref()), (Some("::1"), None, None));
        assert_eq!(url.ignored, "x:5/d");
        let url = parse("postgresql+asyncpg://u:p@::1:5/d");
        assert_eq!((url.host, url.port), (None, Some(Port::Broken)));
        assert_eq!(parse("x://[]/d").host, Some("[]"));
    }

    #[test]
    fn rejects_what_sqlalchemy_cannot_parse() {
        for text in [
            "",
            "  ",
            " postgresql://h",
            "\npostgresql://h",
            "\"postgresql://h\"",
            "jdbc:postgresql://h/d",
            "h",
            "a-b://h",
        ] {
            assert!(Url::parse(text, &SQLALCHEMY).is_none(), "{text}");
        }
    }

    #[test]
    fn drops_blank_options() {
        assert!(parse("x://h/d?foo&bar=&&").options.is_empty());
        let url = parse("x://h/d?a=1&a=2;b=3#c\nz");
        assert_eq!(url.option("a").collect::<Vec<_>>(), ["1", "2;b=3#c"]);
        assert_eq!(url.ignored, "\nz");
    }

    #[test]
    fn reads_numbers_as_python_does() {
        for (text, number) in [
            ("5", Some(5)),
            (" 5\n", Some(5)),
            ("+5", Some(5)),
            ("-5", Some(-5)),
            ("1_000", Some(1000)),
            ("٥٤٣٢", Some(5432)),
            ("５", Some(5)),
            ("\u{1c}5", None),
            ("\u{1c}٥", Some(5)),
            ("\u{b}5", Some(5)),
            ("007", Some(7)),
            ("", None),
            (" ", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("5.0", None),
            ("+ 5", None),
            ("²", None),
            ("5,6", None),
        ] {
            assert_eq!(python_int(text), number, "{text:?}");
        }
        assert_eq!(python_int(&"9".repeat(4300)), Some(i64::MAX));
        assert_eq!(python_int(&"9".repeat(4301)), None);
    }

    #[test]
    fn hidden_pieces_stay_hidden() {
        let text = format!("postgresql+asyncpg://{HIDDEN}:{HIDDEN}@{HIDDEN}:{HIDDEN}/{HIDDEN}");
        let url = parse(&text);
        assert_eq!(url.port, Some(Port::Hidden));
        assert!(url.host.unwrap().contains(HIDDEN));
    }
}
