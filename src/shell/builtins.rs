//! The commands of the shell itself, as far as they change what is known: `export`, `unset`, `set`, `eval` and the like.

use crate::shell::changes::{Change, Changed};
use crate::shell::interpreter::{Function, Interpreter, Known};
use crate::shell::lexer;
use crate::shell::word::{Word, is_name_byte};
use crate::text::basename;

impl Interpreter<'_> {
    /// Commands that change the script's own state. True when there is nothing else to see.
    pub(super) fn builtin(&mut self, words: &[Word]) -> bool {
        let Some(first) = words.first() else { return true };
        let rest = &words[1..];
        let flags = |letter: char| {
            rest.iter().take_while(|word| word.is_option()).any(|word| word.lead().contains(letter))
        };
        match first.known().unwrap_or_default() {
            "export" if flags('n') => rest.iter().for_each(|name| self.hide(name)),
            "export" => self.declare(rest, true),
            "declare" | "typeset" | "local" | "readonly" => self.declare(rest, flags('x')),
            "unset" if flags('f') => {}
            "unset" => rest.iter().filter(|word| !word.is_option()).for_each(|name| self.unset(name)),
            "read" | "getopts" => {
                let names = rest.iter().filter_map(Word::known).filter(|name| is_name(name));
                names.for_each(|name| self.assign(name.to_owned(), None, false));
            }
            "for" | "select" => self.bind(rest),
            "eval" => self.eval(rest),
            "trap" => {
                let rest = match rest.split_first() {
                    Some((first, rest)) if first.is("--") => rest,
                    _ => rest,
                };
                if let [script, _, ..] = rest {
                    let script = script.as_script();
                    self.perhaps(|reader| reader.read_more(&script));
                }
            }
            "alias" => rest.iter().for_each(|word| self.alias(word)),
            "set" => self.set_options(rest),
            "shift" => {
                let count = rest.first().and_then(|count| count.known()?.parse().ok()).unwrap_or(1_usize);
                let mut arguments = self.scope.arguments.words.to_vec();
                let end = count.saturating_add(1).min(arguments.len());
                arguments.drain(end.min(1)..end);
                self.set_arguments(arguments);
            }
            "cd" | "pushd" | "popd" => self.scope.whereabouts.moved = true,
            "." | "source" => {
                self.invocation.opaque_exports = true;
                self.scope.whereabouts.path_changed |=
                    rest.first().is_some_and(|file| is_environment(basename(file.name_lead())));
            }
            "workon" => {
                self.scope.whereabouts.path_changed = true;
                return false;
            }
            "conda" | "mamba" | "micromamba" | "pyenv" if rest.iter().any(|word| word.is("activate")) => {
                self.scope.whereabouts.path_changed = true;
                return false;
            }
            _ if words.iter().all(Word::is_assignment) => {
                for word in words {
                    let exported = self.scope.exports_all || self.is_exported(word);
                    self.set(word, exported);
                }
            }
            _ => return false,
        }
        true
    }

    fn unset(&mut self, name: &Word) {
        // Only what Prefect reads is worth a doubt.
        let ours = name.lead().get(..8).is_some_and(|head| head.eq_ignore_ascii_case("PREFECT_"));
        let change = match name.known() {
            Some(name) if !(self.scope.maybe && ours) => {
                self.note(name);
                Change::Unset(name.to_owned())
            }
            _ => Change::Doubt,
        };
        self.changes.push(change);
    }

    fn eval(&mut self, words: &[Word]) {
        let mut script = String::new();
        for word in words {
            if word.known().is_none() {
                self.invocation.opaque_exports = true;
                self.invocation.unreadable = true;
            }
            script.push_str(&word.as_script());
            script.push(' ');
        }
        self.read_more(&script);
    }

    fn alias(&mut self, word: &Word) {
        let Some((name, text)) = word.known().and_then(|word| word.split_once('=')) else { return };
        if let Some(items) = lexer::items(&format!("{text} \"$@\"")) {
            let body = 0..items.len();
            let function = Function { name: name.to_owned(), items: items.into(), body, called: true };
            self.functions.push(function);
        }
    }

    /// `export NAME=VALUE NAME …`
    fn declare(&mut self, words: &[Word], exported: bool) {
        for word in words.iter().filter(|word| !word.is_option()) {
            if word.is_assignment() {
                let exported = exported || self.scope.exports_all || self.is_exported(word);
                self.set(word, exported);
                continue;
            }
            let Some(name) = word.known() else {
                self.invocation.opaque_exports = true;
                continue;
            };
            if exported {
                self.exported.insert(name.to_owned());
                let Some(Changed::To(value)) = self.changes.of(name, self.budget) else { continue };
                let value = value.map(str::to_owned);
                if self.budget.text(value.as_ref().map_or(0, String::len)) {
                    self.changes.push(Change::Set { name: name.to_owned(), value, exported: true });
                }
            }
        }
    }

    /// `export -n NAME`: the shell keeps it, programs do not see it.
    fn hide(&mut self, name: &Word) {
        if let Some(name) = name.known().filter(|name| !name.starts_with('-')) {
            let value = self.variable(name).and_then(|value| value.known().map(str::to_owned));
            self.assign(name.to_owned(), value, false);
        }
    }

    /// Whether programs see the variable of `NAME=VALUE` already: then they see what is assigned to it now.
    fn is_exported(&self, assignment: &Word) -> bool {
        let name = assignment.assigned_name().unwrap_or_default();
        self.exported.contains(name)
            || self
                .changes
                .exports(name, self.budget)
                .unwrap_or_else(|| !matches!((self.lookup)(name), Known::Unset))
    }

    /// `for NAME in WORDS`: known when it goes round once.
    fn bind(&mut self, words: &[Word]) {
        let Some(name) = words.first().and_then(Word::known).filter(|name| is_name(name)) else { return };
        let value = match words {
            [_, _in, value] => value.known().map(str::to_owned),
            _ => None,
        };
        self.assign(name.to_owned(), value, false);
    }

    /// `set -a`, `set -- WORDS`.
    fn set_options(&mut self, words: &[Word]) {
        let mut operands = words;
        while let Some((first, rest)) = operands.split_first() {
            let short = first.lead().starts_with('-') && !first.lead().starts_with("--");
            let all = short && first.lead().contains('a') || first.is("allexport");
            self.scope.exports_all |= all;
            self.scope.stops_on_error |= short && first.lead().contains('e');
            if first.is("--") || !first.lead().starts_with(['-', '+']) {
                operands = if first.is("--") { rest } else { operands };
                break;
            }
            // `-o pipefail`: the name of the option comes with it.
            let named = first.lead().ends_with('o') && !rest.is_empty();
            self.scope.exports_all |= named && rest[0].is("allexport");
            operands = &rest[usize::from(named)..];
        }
        if !operands.is_empty() || words.iter().any(|word| word.is("--")) {
            let name = self.scope.arguments.words.first().cloned().unwrap_or_else(|| Word::from("sh"));
            self.set_arguments(std::iter::once(name).chain(operands.iter().cloned()).collect());
        }
    }

    fn set_arguments(&mut self, arguments: Vec<Word>) {
        self.scope.arguments.doubted = self.scope.maybe || self.scope.repeats;
        self.scope.arguments.words = arguments.into();
    }
}

fn is_name(text: &str) -> bool {
    text.bytes().all(is_name_byte)
}

/// A file that is sourced for the programs it makes known; a file of secrets is another thing.
fn is_environment(file: &str) -> bool {
    file.starts_with("activate")
        || matches!(file, ".bashrc" | ".profile" | ".bash_profile" | "profile" | "conda.sh" | "mamba.sh")
}
