//! Words of a command line, as far as they can be read.

use std::fmt;

use crate::text::basename;

/// A word: its pieces in order. Neighbouring pieces of text are one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Word {
    pieces: Vec<Piece>,
}

/// A piece of a word.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// Text as it stands.
    Text(String),
    /// A variable of a shell script, before its value is put in.
    Variable(Box<Variable>),
    /// Something that cannot be read, such as what a program prints.
    Unknown,
}

/// A reference to a variable: `$NAME`, `${NAME:-word}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name, or one of `@`, `*`, `#` and the like.
    pub name: String,
    /// What is done with its value.
    pub operation: Operation,
    /// It stands in double quotes: its value is not split into words.
    pub quoted: bool,
}

/// What stands behind the name in `${NAME…}`.
#[derive(Clone, PartialEq, Eq)]
pub enum Operation {
    /// The value as it is.
    Value,
    /// `-` and `=`: another word where the variable is not set.
    Default {
        /// The other word.
        word: Word,
        /// `:-`: also where it is empty.
        or_empty: bool,
    },
    /// `+`: a word where the variable is set.
    Alternative {
        /// The word.
        word: Word,
        /// `:+`: not where it is empty.
        or_empty: bool,
    },
    /// `${@:2}`: the arguments from this one on.
    From(usize),
    /// Any other, which is not followed.
    Other,
}

impl Word {
    /// A word of which nothing can be read.
    pub fn unknown() -> Self {
        Word { pieces: vec![Piece::Unknown] }
    }

    /// The pieces.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How long the text is that can be read.
    pub fn len(&self) -> usize {
        let length = |piece: &Piece| if let Piece::Text(text) = piece { text.len() } else { 1 };
        self.pieces.iter().map(length).sum()
    }

    /// Adds one character.
    pub fn push(&mut self, c: char) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => self.pieces.push(Piece::Text(c.into())),
        }
    }

    /// Adds text.
    pub fn push_text(&mut self, added: &str) {
        match self.pieces.last_mut() {
            _ if added.is_empty() => {}
            Some(Piece::Text(text)) => text.push_str(added),
            _ => self.pieces.push(Piece::Text(added.to_owned())),
        }
    }

    /// Adds a piece.
    pub fn push_piece(&mut self, piece: Piece) {
        match piece {
            Piece::Text(text) => self.push_text(&text),
            Piece::Unknown if self.pieces.last() == Some(&Piece::Unknown) => {}
            piece => self.pieces.push(piece),
        }
    }

    /// Adds the pieces of another word.
    pub fn append(&mut self, other: Word) {
        other.pieces.into_iter().for_each(|piece| self.push_piece(piece));
    }

    /// The whole text, where all of it can be read.
    pub fn known(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it is this text.
    pub fn is(&self, text: &str) -> bool {
        self.known() == Some(text)
    }

    /// Whether it is one of these texts.
    pub fn is_one_of(&self, texts: &[&str]) -> bool {
        self.known().is_some_and(|known| texts.contains(&known))
    }

    /// The text before anything that cannot be read.
    pub fn lead(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// Whether it begins like an option.
    pub fn is_option(&self) -> bool {
        self.lead().starts_with('-') && (self.lead().len() > 1 || self.pieces.len() > 1)
    }

    /// What stands behind the last slash, as far as it can be read, and whether that is all of it.
    fn last_segment(&self) -> (&str, bool) {
        let mut segment = (self.lead(), self.pieces.len() <= 1);
        for (index, piece) in self.pieces.iter().enumerate() {
            if let Piece::Text(text) = piece
                && text.contains('/')
            {
                segment = (basename(text), index + 1 == self.pieces.len());
            }
        }
        segment
    }

    /// The name of the program that it calls: what stands behind the last slash.
    pub fn name(&self) -> Option<&str> {
        let (name, whole) = self.last_segment();
        whole.then_some(name).filter(|_| self.pieces != [Piece::Unknown])
    }

    /// The beginning of that name, as far as it can be read.
    pub fn name_lead(&self) -> &str {
        self.last_segment().0
    }

    /// Whether the name of the program begins with something that cannot be read.
    pub fn names_unknown(&self) -> bool {
        let (lead, whole) = self.last_segment();
        lead.is_empty() && !whole || self.is_unknown()
    }

    /// Whether nothing of it can be read.
    pub fn is_unknown(&self) -> bool {
        self.pieces == [Piece::Unknown]
    }

    /// Whether a piece of it cannot be read.
    pub fn has_unknown(&self) -> bool {
        self.pieces.contains(&Piece::Unknown)
    }

    /// Whether what can be read of it holds this.
    pub fn contains(&self, wanted: &str) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains(wanted)))
    }

    /// Whether there are blanks in it.
    pub fn has_blanks(&self) -> bool {
        let blank = |text: &str| text.contains(char::is_whitespace);
        self.pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if blank(text)))
    }

    /// The name in `NAME=VALUE`.
    pub fn assigned_name(&self) -> Option<&str> {
        let (name, _) = self.lead().split_once('=')?;
        let good = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(is_name_byte);
        good.then_some(name)
    }

    /// Whether it is `NAME=VALUE`.
    pub fn is_assignment(&self) -> bool {
        self.assigned_name().is_some()
    }

    /// What stands behind the first `=` of `NAME=VALUE`.
    pub fn assigned_value(&self) -> Word {
        self.behind(|text| text.split_once('=').map(|(_, value)| value))
    }

    /// What stands behind a prefix of its text, such as `--option=`.
    pub fn strip_prefix(&self, prefix: &str) -> Option<Word> {
        self.lead().strip_prefix(prefix)?;
        Some(self.behind(|text| text.strip_prefix(prefix)))
    }

    /// The word with the first text cut as wanted.
    fn behind(&self, cut: impl Fn(&str) -> Option<&str>) -> Word {
        let mut rest = Word::from(cut(self.lead()).unwrap_or_default());
        self.pieces.iter().skip(1).for_each(|piece| rest.push_piece(piece.clone()));
        rest
    }

    /// Another program of the same directory: `/venv/bin/uvicorn` → `/venv/bin/prefect`.
    pub fn sibling(&self, name: &str) -> Word {
        let mut sibling = self.clone();
        match sibling.pieces.last_mut() {
            Some(Piece::Text(text)) => text.truncate(text.rfind('/').map_or(0, |slash| slash + 1)),
            _ => return Word::from(name),
        }
        sibling.push_text(name);
        sibling
    }

    /// The word as a script: what cannot be read of it stands there as what some program prints.
    pub fn as_script(&self) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(_) | Piece::Unknown => "$(?)".to_owned(),
        };
        self.pieces.iter().map(text).collect()
    }

    /// Whether it may be a list of words in braces: `{start,stop}`.
    pub fn is_brace_list(&self) -> bool {
        self.contains("{") && self.contains(",")
    }
}

/// Whether a byte can stand in the name of a variable.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Word { pieces: if text.is_empty() { Vec::new() } else { vec![Piece::Text(text)] } }
    }
}

/// `?` stands for what cannot be read. For tests alone, since a word may be a password.
#[cfg(test)]
impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Variable(variable) => write!(f, "${}", variable.name),
            Piece::Unknown => f.write_str("?"),
        })
    }
}

/// A word may be a password.
impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Word({} pieces)", self.pieces.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&str]) -> Word {
        let mut word = Word::default();
        for piece in pieces {
            word.push_piece(if *piece == "?" { Piece::Unknown } else { Piece::Text((*piece).to_owned()) });
        }
        word
    }

    #[test]
    fn names_a_program_where_the_end_of_its_path_is_known() {
        assert_eq!(of(&["/opt/venv/bin/prefect"]).name(), Some("prefect"));
        assert_eq!(of(&["?", "/bin/prefect"]).name(), Some("prefect"));
        assert_eq!(of(&["/opt/", "?", "/bin/prefect"]).name(), Some("prefect"));
        assert_eq!(of(&["?", "prefect"]).name(), None);
        assert_eq!(of(&["/bin/", "?"]).name(), None);
        assert_eq!(of(&["?"]).name(), None);
        assert_eq!(of(&["prefect==", "?"]).name_lead(), "prefect==");
        for unknown in [of(&["?"]), of(&["/bin/", "?"]), of(&["?", "x"])] {
            assert!(unknown.names_unknown());
        }
        assert!(!of(&["?", "/bin/prefect"]).names_unknown() && !of(&["p", "?"]).names_unknown());
    }

    #[test]
    fn tells_assignments() {
        assert_eq!(of(&["A_1=b=c"]).assigned_name(), Some("A_1"));
        assert!(of(&["A=b=c"]).assigned_value().is("b=c"));
        assert_eq!(of(&["A=", "?"]).assigned_value(), Word::unknown());
        for other in [of(&["1=b"]), of(&["=b"]), of(&["A-B=c"]), of(&["A", "?", "=b"]), of(&["?", "A=b"])] {
            assert_eq!(other.assigned_name(), None);
        }
    }
}
