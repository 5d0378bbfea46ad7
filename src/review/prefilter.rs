//! Whether a review may have to do with Prefect at all.
//!
//! Sound because detection needs the word in a command, an argument, a variable's name, an image, or an annotation or
//! label of ours, and JSON can hide a letter of it only behind a `\u` escape, which is looked for too.

use memchr::{memchr2_iter, memmem};

const WORD: &[u8] = b"prefect";

/// Whether the word stands anywhere in the text, in letters of either case or behind escapes.
pub fn names_prefect(body: &[u8]) -> bool {
    let is_word =
        |at: usize| body.get(at..at + WORD.len()).is_some_and(|text| text.eq_ignore_ascii_case(WORD));
    // Letters escape as \u0040 to \u007f; the API server itself only writes \u0026, \u003c, \u003e and \u2028.
    let is_letter = |at: usize| body.get(at + 4).is_some_and(|digit| matches!(digit, b'4'..=b'7'));
    memchr2_iter(b'p', b'P', body).any(is_word) || memmem::find_iter(body, r"\u00").any(is_letter)
}

#[cfg(test)]
mod tests {
    use super::names_prefect;

    #[test]
    fn the_word_is_found_however_its_letters_are_written() {
        for text in [
            r#"{"a":"prefect"}"#,
            r#"{"a":"PREFECT_HOME"}"#,
            r#"{"a":"\u0070refect"}"#,
            r#"{"a":"p\u0072efect"}"#,
        ] {
            assert!(names_prefect(text.as_bytes()), "{text}");
        }
        assert!(!names_prefect(br#"{"image":"nginx \u003c"}"#));
    }
}
