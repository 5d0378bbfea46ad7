//! References to variables in the words of a script: `$NAME`, `${NAME:-word}`.

use crate::shell::word::{Operation, Piece, Variable, Word, is_name_byte};

/// How deep default values may nest.
const MAX_DEFAULTS: usize = 4;

/// Reads what stands behind a `$` without braces; gives the text behind the reference.
pub(super) fn plain<'t>(after: &'t str, quoted: bool, word: &mut Word) -> &'t str {
    if after.starts_with('{') {
        return braced(after, quoted, word).unwrap_or_else(|| {
            // It does not close: nothing can be said of the rest.
            word.push_piece(Piece::Unknown);
            ""
        });
    }
    let end = match after.bytes().next() {
        Some(b'0'..=b'9' | b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-') => 1,
        _ => after.bytes().position(|byte| !is_name_byte(byte)).unwrap_or(after.len()),
    };
    if end == 0 {
        word.push('$');
        return after;
    }
    let (name, rest) = after.split_at(end);
    let variable = Variable { name: name.to_owned(), operation: Operation::Value, quoted };
    word.push_piece(Piece::Variable(Box::new(variable)));
    rest
}

/// Reads `{NAME…}`; `None` where it does not close.
pub(super) fn braced<'t>(after: &'t str, quoted: bool, word: &mut Word) -> Option<&'t str> {
    let mut open = 0_usize;
    let (end, _) = after.char_indices().find(|(_, c)| {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        open == 0
    })?;
    let inside: String = after[1..end].chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
    word.push_piece(piece(&inside, quoted, 0));
    Some(&after[end + 1..])
}

/// What `NAME`, `NAME:-word` and the like stand for.
fn piece(inside: &str, quoted: bool, depth: usize) -> Piece {
    let name_end = match inside.bytes().next() {
        Some(b'@' | b'*' | b'#' | b'?' | b'!') if inside.len() == 1 => 1,
        Some(b'@' | b'*') => 1,
        _ => inside.bytes().position(|byte| !is_name_byte(byte)).unwrap_or(inside.len()),
    };
    let (name, operation) = inside.split_at(name_end);
    if name.is_empty() {
        return Piece::Unknown;
    }
    let or_empty = operation.starts_with(':');
    let rest = operation.strip_prefix(':').unwrap_or(operation);
    let other = |from: &str| text(from, depth + 1);
    let operation = match rest.bytes().next() {
        None if or_empty => Operation::Other,
        None | Some(b'?') => Operation::Value,
        Some(b'-' | b'=') => Operation::Default { word: other(&rest[1..]), or_empty },
        Some(b'+') => Operation::Alternative { word: other(&rest[1..]), or_empty },
        Some(_) if or_empty && matches!(name, "@" | "*") => {
            rest.trim().parse().map_or(Operation::Other, Operation::From)
        }
        Some(_) => Operation::Other,
    };
    Piece::Variable(Box::new(Variable { name: name.to_owned(), operation, quoted }))
}

/// The word in `${NAME:-word}`, which may hold references itself.
fn text(mut rest: &str, depth: usize) -> Word {
    let mut word = Word::default();
    if depth > MAX_DEFAULTS {
        return Word::unknown();
    }
    while let Some(at) = rest.find('$') {
        word.push_text(&rest[..at]);
        let after = &rest[at + 1..];
        if after.starts_with('(') {
            // A substitution in a default value is not followed.
            word.push_piece(Piece::Unknown);
            return word;
        }
        rest = match after.starts_with('{') {
            true => inner(after, depth, &mut word),
            false => plain(after, false, &mut word),
        };
    }
    word.push_text(rest);
    word
}

/// A `{NAME…}` within a default value.
fn inner<'t>(after: &'t str, depth: usize, word: &mut Word) -> &'t str {
    let mut open = 0_usize;
    let end = after.char_indices().find(|(_, c)| {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        open == 0
    });
    let Some((end, _)) = end else {
        // Cut off in the middle: nothing can be said of the rest.
        word.push_piece(Piece::Unknown);
        return "";
    };
    word.push_piece(piece(&after[1..end], false, depth));
    &after[end + 1..]
}
