//! Text fit to be shown: clipped, on one line, printable, wrapped; and how far two names are apart. Uses nothing.

use std::borrow::Cow;

/// A variable's name up to where it is none any more: somebody may have written `NAME=VALUE` where the name belongs,
/// and the value may be a URL with a password.
pub(crate) fn name_alone(name: &str) -> Cow<'_, str> {
    match name.find(|c: char| c.is_whitespace() || "=:/@,;\"'{}[]()".contains(c)) {
        Some(end) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

/// What stands behind the last slash.
pub(crate) fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Cuts a name to `limit` bytes at a character boundary, with an ellipsis when something went.
pub fn clip(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Makes a text fit for one line of a warning: what is not printable becomes blanks, and it is cut to `limit` bytes.
pub fn one_line(text: &str, limit: usize) -> String {
    clip(&printable(text), limit)
}

/// The text with a blank for each character that would not show as itself: nothing that somebody wrote may end a
/// line, move the cursor of a terminal, or turn round what stands beside it.
pub fn printable(text: &str) -> String {
    // Most of what is shown.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    text.chars().map(printable_char).collect()
}

/// The same for one character.
pub fn printable_char(c: char) -> char {
    if is_unprintable(c) { ' ' } else { c }
}

/// How far two names are apart (Levenshtein), for "did you mean". Names are short: what is longer is cut.
pub fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 80;
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(LONGEST).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Control characters, and the invisible ones that end a line, or reorder or hide text on a terminal: marks of
/// direction, joiners, tags.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// The columns that a text with colours takes.
fn width(text: &str) -> usize {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().chars().count();
    first + parts.map(|part| part.split_once('m').map_or(0, |(_, rest)| rest.chars().count())).sum::<usize>()
}

/// A line as lines of at most so many columns. A word that is longer stays whole.
pub fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let indent = line.len() - line.trim_start_matches(' ').len();
    let mut lines = vec![" ".repeat(indent)];
    let mut taken = indent;
    for word in line[indent..].split(' ') {
        let wide = width(word);
        let is_first = taken == indent;
        if !is_first && taken + 1 + wide > columns {
            lines.push(" ".repeat(indent));
            taken = indent;
        } else if !is_first {
            lines.last_mut().expect("there is a line").push(' ');
            taken += 1;
        }
        lines.last_mut().expect("there is a line").push_str(word);
        taken += wide;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn a_line_that_fits_stays_as_it_is() {
        assert_eq!(wrapped("   a short line", 40), ["   a short line"]);
        assert_eq!(wrapped("", 40), [""]);
    }

    #[test]
    fn a_long_line_goes_on_below_its_own_beginning() {
        assert_eq!(wrapped("  one two three four", 10), ["  one two", "  three", "  four"]);
    }

    #[test]
    fn colours_take_no_room_and_no_word_is_broken() {
        assert_eq!(wrapped("\x1b[31mone two\x1b[0m three", 7), ["\x1b[31mone two\x1b[0m", "three"]);
        assert_eq!(wrapped("a sixteen-letters-", 9), ["a", "sixteen-letters-"]);
    }
}
