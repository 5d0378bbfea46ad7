//! Conditions of scripts, as far as they can be settled by reading: `[ A = B ]`, and the patterns of `case`.

use crate::shell::word::Word;

/// What the words behind `[`, `[[` or `test` come to; `None` where they do not show it.
pub(super) fn test(words: &[Word]) -> Option<bool> {
    let (first, rest) = words.split_first()?;
    let rest = match first.known()? {
        "test" => rest,
        "[" => rest.strip_suffix(&[Word::from("]")])?,
        "[[" => rest.strip_suffix(&[Word::from("]]")])?,
        _ => return None,
    };
    settle(rest, first.is("[["))
}

fn settle(words: &[Word], matches: bool) -> Option<bool> {
    if let [not, rest @ ..] = words
        && not.is("!")
        && !rest.is_empty()
    {
        return settle(rest, matches).map(|holds| !holds);
    }
    match words {
        [] => Some(false),
        [word] => Some(!word.known()?.is_empty()),
        [option, word] if option.is("-n") => Some(!word.known()?.is_empty()),
        [option, word] if option.is("-z") => Some(word.known()?.is_empty()),
        [left, operator, right] => compare(left.known()?, operator.known()?, right.known()?, matches),
        _ => None,
    }
}

fn compare(left: &str, operator: &str, right: &str, matches: bool) -> Option<bool> {
    let number = |text: &str| text.parse::<i64>().ok();
    let ordering = || Some(number(left)?.cmp(&number(right)?));
    match operator {
        "=" | "==" | "!=" if matches && right.contains(['*', '?', '[', '\\', '(']) => None,
        "=" | "==" => Some(left == right),
        "!=" => Some(left != right),
        "-eq" => Some(ordering()?.is_eq()),
        "-ne" => Some(ordering()?.is_ne()),
        "-gt" => Some(ordering()?.is_gt()),
        "-ge" => Some(ordering()?.is_ge()),
        "-lt" => Some(ordering()?.is_lt()),
        "-le" => Some(ordering()?.is_le()),
        _ => None,
    }
}

/// Whether one of the patterns of a branch of `case` matches; `None` where that is not known.
pub(super) fn matches(patterns: &[Word], subject: &Word) -> Option<bool> {
    let subject = subject.known();
    let mut settled = Some(false);
    for pattern in patterns {
        match (pattern.known(), subject) {
            (Some("*"), _) => return Some(true),
            (Some(pattern), Some(subject)) if !pattern.contains(['[', '\\', '(']) => {
                if fits(pattern.as_bytes(), subject.as_bytes()) {
                    return Some(true);
                }
            }
            _ => settled = None,
        }
    }
    settled
}

/// Whether a pattern of `*`, `?` and plain characters fits.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on when the last `*` has to take one more byte.
    let mut retry = None;
    loop {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, read));
                at += 1;
                continue;
            }
            None if read == text.len() => return true,
            Some(wanted) if read < text.len() && (*wanted == b'?' || *wanted == text[read]) => {
                (at, read) = (at + 1, read + 1);
                continue;
            }
            _ => {}
        }
        match retry {
            Some((from, taken)) if taken < text.len() => {
                retry = Some((from, taken + 1));
                (at, read) = (from, taken + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<bool> {
        let word =
            |text: &str| if text == "?" { Word::unknown() } else { Word::from(text.trim_matches('\'')) };
        test(&text.split(' ').map(word).collect::<Vec<_>>())
    }

    #[test]
    fn settles_what_is_known() {
        for (text, wanted) in [
            ("[ a = a ]", true),
            ("[ a == b ]", false),
            ("test a != b", true),
            ("[ ! a = a ]", false),
            ("[[ a == a ]]", true),
            ("[ -n a ]", true),
            ("[ -z a ]", false),
            ("[ -z '' ]", true),
            ("[ a ]", true),
            ("[ 2 -gt 1 ]", true),
            ("[ 0 -eq 0 ]", true),
            ("[ ]", false),
        ] {
            assert_eq!(of(text), Some(wanted), "{text}");
        }
        for text in
            ["[ ? = a ]", "[ -f /x ]", "[ a = a -o b ]", "[[ a == a* ]]", "[ a = a", "[ x -gt 1 ]", "grep a"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn matches_patterns() {
        let of = |patterns: &[&str], subject: &str| {
            let patterns: Vec<Word> = patterns.iter().map(|text| Word::from(*text)).collect();
            matches(&patterns, &Word::from(subject))
        };
        assert_eq!(of(&["server"], "server"), Some(true));
        assert_eq!(of(&["worker", "server"], "server"), Some(true));
        assert_eq!(of(&["worker"], "server"), Some(false));
        assert_eq!(of(&["serv*r"], "server"), Some(true));
        assert_eq!(of(&["s?rver*"], "server"), Some(true));
        assert_eq!(of(&["*x*"], "server"), Some(false));
        assert_eq!(of(&["[st]*"], "server"), None);
        assert_eq!(matches(&[Word::from("*")], &Word::unknown()), Some(true));
        assert_eq!(matches(&[Word::from("a")], &Word::unknown()), None);
        assert_eq!(matches(&[Word::unknown()], &Word::from("a")), None);
        assert!(fits(b"a**b", b"aXXb") && !fits(b"a*b", b"a") && fits(b"*", b""));
    }
}
