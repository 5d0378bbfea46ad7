//! Puts the values of variables into the words of a script.

use crate::shell::budget::LONGEST;
use crate::shell::changes::Changed;
use crate::shell::interpreter::{Interpreter, Known};
use crate::shell::word::{Operation, Piece, Variable, Word};

/// How deep default values may nest.
const MAX_DEFAULTS: usize = 5;

impl Interpreter<'_> {
    /// The words of a command, with everything put in that is known.
    pub(super) fn words(&mut self, words: &[Word]) -> Vec<Word> {
        let mut out = Vec::with_capacity(words.len());
        for word in words {
            if !self.budget.step(1 + word.len() / 32) {
                self.invocation.unreadable = true;
                break;
            }
            if let Some(from) = all_arguments(word).filter(|_| !self.doubts("@")) {
                let arguments = self.scope.arguments.words.get(from..).unwrap_or_default();
                if !self.budget.text(arguments.iter().map(Word::len).sum()) {
                    self.invocation.unreadable = true;
                    break;
                }
                out.extend(arguments.iter().cloned());
            } else if word.is_assignment() {
                out.push(self.expand(word));
            } else {
                self.split(word, &mut out);
            }
        }
        out
    }

    /// The word with its variables put in, as in double quotes.
    pub(super) fn expand(&self, word: &Word) -> Word {
        self.expand_within(word, 0)
    }

    fn expand_within(&self, word: &Word, depth: usize) -> Word {
        let mut out = Word::default();
        for piece in word.pieces() {
            match piece {
                Piece::Variable(variable) => {
                    let value = self.value_of(variable, depth);
                    if !self.has_room(&out, &value) {
                        out.push_piece(Piece::Unknown);
                        return out;
                    }
                    out.append(value);
                }
                piece => out.push_piece(piece.clone()),
            }
        }
        out
    }

    /// The same for a word that is split where an unquoted value holds blanks; what is empty then is no word.
    fn split(&self, word: &Word, out: &mut Vec<Word>) {
        let mut current = Word::default();
        let mut was_split = false;
        let quoted = |piece: &Piece| matches!(piece, Piece::Variable(variable) if variable.quoted);
        let variable = |piece: &Piece| matches!(piece, Piece::Variable(_));
        let keeps_empty = word.pieces().iter().any(quoted) || !word.pieces().iter().any(variable);
        for piece in word.pieces() {
            let Piece::Variable(variable) = piece else {
                current.push_piece(piece.clone());
                continue;
            };
            let value = self.value_of(variable, 0);
            if !self.has_room(&current, &value) {
                current.push_piece(Piece::Unknown);
                break;
            }
            if variable.quoted {
                current.append(value);
                continue;
            }
            for piece in value.pieces() {
                let Piece::Text(text) = piece else {
                    current.push_piece(piece.clone());
                    continue;
                };
                for (index, part) in text.split(char::is_whitespace).enumerate() {
                    if index > 0 {
                        was_split = true;
                        out.extend(Some(std::mem::take(&mut current)).filter(|word| !word.is_empty()));
                    }
                    current.push_text(part);
                }
            }
        }
        if !current.is_empty() || keeps_empty && !was_split {
            out.push(current);
        }
    }

    fn has_room(&self, word: &Word, value: &Word) -> bool {
        word.len() + value.len() <= LONGEST && self.budget.text(value.len())
    }

    /// What stands in for a variable.
    fn value_of(&self, variable: &Variable, depth: usize) -> Word {
        let value = match variable.name.as_str() {
            "@" | "*" | "#" if self.doubts("@") => Some(Word::unknown()),
            "@" | "*" => Some(self.all_arguments_as_one()),
            "#" => Some(self.scope.arguments.words.len().saturating_sub(1).to_string().into()),
            "?" | "$" | "!" | "-" => Some(Word::unknown()),
            name => self.variable(name),
        };
        let word = |word: &Word| match depth < MAX_DEFAULTS {
            true => self.expand_within(word, depth + 1),
            false => Word::unknown(),
        };
        match &variable.operation {
            Operation::Value => value.unwrap_or_else(Word::unknown),
            Operation::Default { word: other, or_empty } => match value {
                Some(value) if !(*or_empty && value.is_empty()) => value,
                None if self.strict => Word::unknown(),
                _ => word(other),
            },
            Operation::Alternative { word: other, or_empty } => match value {
                Some(value) if *or_empty && value.is_empty() => Word::default(),
                Some(_) => word(other),
                None if self.strict => Word::unknown(),
                None => Word::default(),
            },
            Operation::From(_) | Operation::Other => Word::unknown(),
        }
    }

    fn all_arguments_as_one(&self) -> Word {
        let arguments = self.scope.arguments.words.get(1..).unwrap_or_default();
        if !self.budget.text(arguments.iter().map(|word| word.len() + 1).sum()) {
            return Word::unknown();
        }
        let mut all = Word::default();
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                all.push(' ');
            }
            all.append(argument.clone());
        }
        all
    }

    /// Whether a condition cannot be settled by this variable (`@` for the arguments): what it was set to may not have
    /// been run, or differs from round to round.
    fn doubts(&self, name: &str) -> bool {
        let doubted = || match name {
            "@" => self.scope.arguments.doubted,
            name => self.scope.doubted.contains(name),
        };
        self.strict && (self.scope.repeats || doubted())
    }

    /// The value of a variable as the script sees it so far; `None` where nothing sets it that we see.
    pub(super) fn variable(&self, name: &str) -> Option<Word> {
        let index = name.parse::<usize>();
        if self.doubts(if index.is_ok() { "@" } else { name }) {
            return Some(Word::unknown());
        }
        if let Ok(index) = index {
            return Some(self.scope.arguments.words.get(index).cloned().unwrap_or_default());
        }
        let given = || match (self.lookup)(name) {
            Known::Value(_) if self.strict && self.invocation.opaque_exports => Some(Word::unknown()),
            Known::Value(value) => Some(value.into()),
            Known::Hidden => Some(Word::unknown()),
            Known::Unset => None,
        };
        match self.changes.of(name, self.budget) {
            Some(Changed::To(Some(value))) if value.len() <= LONGEST => Some(value.into()),
            Some(Changed::To(_)) => Some(Word::unknown()),
            Some(Changed::Cleared) if self.strict => Some(Word::unknown()),
            Some(Changed::Away | Changed::Cleared) => Some(Word::default()),
            None => given(),
        }
    }
}

/// `$@`, `${@}`, `${@:2}`: all arguments from this one on.
fn all_arguments(word: &Word) -> Option<usize> {
    let [Piece::Variable(variable)] = word.pieces() else { return None };
    match (variable.name.as_str(), &variable.operation) {
        ("@" | "*", Operation::Value) => Some(1),
        ("@" | "*", Operation::From(from)) => Some(*from),
        _ => None,
    }
}
