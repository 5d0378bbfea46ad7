//! `env`: variables that it sets and takes away before it runs a program, and the string of `env -S`.

use crate::shell::changes::Change;
use crate::shell::interpreter::{Interpreter, Level, Line, Step};
use crate::shell::lexer;
use crate::shell::word::Word;

impl Interpreter<'_> {
    /// `env [-i] [-u NAME] [NAME=VALUE…] PROGRAM`, or `env -S 'STRING' …`, from the word after `env`.
    pub(super) fn env(&mut self, line: Line<'_>, mut at: usize) -> Step {
        let words = line.words;
        while let Some(word) = words.get(at).filter(|word| word.lead().starts_with('-')) {
            at += 1;
            let following = words.get(at);
            let next = || following.cloned().unwrap_or_default();
            let option = word.lead();
            let (name, value) = match option.split_once('=') {
                Some((name, _)) => (name, Some(word.assigned_value())),
                None => (option, None),
            };
            let value = value.filter(|value| !value.is_empty());
            match name {
                "--" => break,
                "-" | "--ignore-environment" => self.changes.push(Change::Clear),
                "--unset" => {
                    at += usize::from(value.is_none());
                    self.take_away(&value.unwrap_or_else(next));
                }
                "--chdir" => at += usize::from(value.is_none()),
                "--split-string" => {
                    let separate = value.is_none();
                    return self.split_string(&value.unwrap_or_else(next), &words[at..], separate);
                }
                _ if name.starts_with("--") => {}
                _ => match self.letters(word, words, at) {
                    Letters::Done { takes_next } => at += usize::from(takes_next),
                    Letters::Read => return Step::Read,
                },
            }
        }
        // `env $(cat FILE) prefect …`
        while words.get(at).is_some_and(|word| word.lead().is_empty() && word.has_unknown()) {
            self.invocation.opaque_exports = true;
            at += 1;
        }
        Step::At(self.assignments(words, at).min(words.len()))
    }

    /// Short options in one word: `-iu NAME`, `-S'STRING'`.
    fn letters(&mut self, word: &Word, words: &[Word], at: usize) -> Letters {
        for (index, letter) in word.lead().char_indices().skip(1) {
            let attached = word.strip_prefix(&word.lead()[..index + letter.len_utf8()]).unwrap_or_default();
            let separate = attached.is_empty();
            let value = || if separate { words.get(at).cloned().unwrap_or_default() } else { attached };
            match letter {
                'i' => self.changes.push(Change::Clear),
                'S' => {
                    self.split_string(&value(), &words[at..], separate);
                    return Letters::Read;
                }
                'u' => {
                    self.take_away(&value());
                    return Letters::Done { takes_next: separate };
                }
                'C' => return Letters::Done { takes_next: separate },
                _ => {}
            }
        }
        Letters::Done { takes_next: false }
    }

    fn take_away(&mut self, name: &Word) {
        self.changes.push(match name.known() {
            Some(name) => Change::Unset(name.to_owned()),
            None => Change::Doubt,
        });
    }

    /// The string of `env -S` is split into words, options of `env` among them.
    fn split_string(&mut self, script: &Word, rest: &[Word], separate: bool) -> Step {
        let rest = rest.get(usize::from(separate)..).unwrap_or_default();
        if !self.budget.step(rest.len() + script.len() / 8) {
            self.invocation.unreadable = true;
            return Step::Read;
        }
        let mut line = vec![Word::from("env")];
        let split = lexer::words(&script.as_script()).unwrap_or_default();
        line.extend(split.iter().map(|word| self.expand(word)));
        line.extend_from_slice(rest);
        self.command(&line, 0, Level::Script { start: None });
        Step::Read
    }
}

/// What came of short options.
enum Letters {
    /// They are read; whether the next word belongs to them.
    Done { takes_next: bool },
    /// The rest of the command line was read with them.
    Read,
}
