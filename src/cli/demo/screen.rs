//! What the demo writes to: text is wrapped to the terminal's width, or left as it is where there is no terminal.

use std::io::{self, IsTerminal, Write};

use crate::text::wrapped;

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

#[cfg(test)]
mod tests {
    use super::*;

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
