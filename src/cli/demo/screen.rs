//! What the demo writes to: text is wrapped to the terminal's width, or left as it is where there is no terminal.

use std::io::{self, IsTerminal, Write};

/// A listing is cut here where there is no terminal.
const LISTING: usize = 120;

/// Prose is no wider than this on any screen, and where there is none.
const PROSE: usize = 90;

/// Fewer columns than this hold no sentence; such a terminal wraps by itself.
const LEAST: usize = 40;

pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    columns: Option<usize>,
}

impl<'a> Screen<'a> {
    /// As wide as the terminal that the standard output is.
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let size = is_terminal.then(terminal_size::terminal_size).flatten();
        let columns = size.map(|(width, _)| usize::from(width.0)).filter(|columns| *columns >= LEAST);
        Screen { out, columns }
    }

    /// Lines of text. One that is too long goes on in further lines of the same indentation.
    pub(super) fn text(&mut self, lines: &str) -> io::Result<()> {
        let Some(columns) = self.columns else { return writeln!(self.out, "{lines}") };
        for line in lines.split('\n').flat_map(|line| wrapped(line, columns)) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }

    /// Whole sentences, which are easier to read in lines that are not long.
    pub(super) fn prose(&mut self, text: &str) -> io::Result<()> {
        let columns = self.columns.unwrap_or(PROSE).min(PROSE);
        wrapped(text, columns).iter().try_for_each(|line| writeln!(self.out, "{line}"))
    }

    /// A line that is copied into a shell: never broken, however long.
    pub(super) fn command(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// A line of a listing, in one colour and cut where it is too long.
    pub(super) fn listing(&mut self, colour: &str, line: &str, plain: &str) -> io::Result<()> {
        let columns = self.columns.unwrap_or(LISTING);
        if line.chars().count() <= columns {
            return writeln!(self.out, "{colour}{line}{plain}");
        }
        let start: String = line.chars().take(columns - 1).collect();
        writeln!(self.out, "{colour}{start}…{plain}")
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The columns that a text with colours takes.
fn width(text: &str) -> usize {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().chars().count();
    first + parts.map(|part| part.split_once('m').map_or(0, |(_, rest)| rest.chars().count())).sum::<usize>()
}

/// A line as lines of at most so many columns. A word that is longer stays whole.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
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
    use super::*;

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

    #[test]
    fn without_a_terminal_no_text_is_broken() {
        let mut out = Vec::new();
        let mut screen = Screen { out: &mut out, columns: None };
        let long = "word ".repeat(100);
        screen.text(&long).unwrap();
        screen.listing("", &long, "").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{long}\n{}…\n", &long[..LISTING - 1]));
    }

    #[test]
    fn a_listing_is_cut_and_a_command_is_whole() {
        let mut out = Vec::new();
        let mut screen = Screen { out: &mut out, columns: Some(8) };
        screen.listing("<", "0123456789", ">").unwrap();
        screen.command("curl https://localhost").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "<0123456…>\ncurl https://localhost\n");
    }
}
