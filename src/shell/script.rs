//! Follows a shell script command by command: its variables, arguments and functions, as far as they decide what
//! is called.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

use crate::shell::budget::LONGEST;
use crate::shell::changes::{Change, Changed};
use crate::shell::lexer::{self, Command, Item, LITERAL, Operator, QUOTED, SPLIT, UNKNOWN};
use crate::shell::reader::{Known, Level, MAX_DEPTH, Reader, Token};
use crate::shell::words::{is_assignment, is_name_char};

/// How deep default values may nest.
const MAX_DEFAULTS: usize = 4;

/// What is known where the reader stands in a script.
#[derive(Default)]
pub(super) struct Script {
    /// `$0`, `$1`…
    arguments: Vec<String>,
    functions: Vec<Function>,
    /// `export NAME` before there is a value.
    exported: BTreeSet<String>,
    /// `set -a`: what is assigned is exported.
    exports_all: bool,
    /// `set -e`: what fails ends the script.
    pub stops_on_error: bool,
    /// The command that is being read may not be run: it stands in a branch, or behind `&&`.
    maybe: bool,
    /// How the last command ended, where that is plain: `true`, `false`.
    status: Option<bool>,
    /// What the last command printed, where that is plain: `echo start`.
    printed: Option<Vec<String>>,
    /// The same, for the command that it is piped into.
    pub piped: Option<Vec<String>>,
    /// The command that is being read may fail and nobody would know: `… || true`, `… &`.
    pub failure_is_lost: bool,
}

/// A function, or an alias.
struct Function {
    name: String,
    items: Rc<[Item]>,
    body: Range<usize>,
    called: bool,
}

impl Reader<'_> {
    /// Reads a script; `arguments` are its `$0`, `$1`….
    pub(super) fn read_script(&mut self, script: &str, arguments: Vec<String>) {
        if self.depth >= MAX_DEPTH || !self.budget.step(1 + arguments.len() + script.len() / 8) {
            self.invocation.unreadable = true;
            return;
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.script.arguments, arguments);
        let functions = self.script.functions.len();
        let items = lexer::items(script).unwrap_or_else(|| {
            self.invocation.unreadable = true;
            self.invocation.opaque_exports |= script.contains('=');
            lexer::rough_items(script)
        });
        let items: Rc<[Item]> = items.into();
        self.run(&items, 0..items.len());
        // What nobody calls by name may still be called: `"$1"`, a trap.
        for index in functions..self.script.functions.len() {
            let function = &mut self.script.functions[index];
            if !std::mem::replace(&mut function.called, true) {
                let (items, body) = (Rc::clone(&function.items), function.body.clone());
                self.run(&items, body);
            }
        }
        self.script.arguments = outer;
        self.depth -= 1;
    }

    fn run(&mut self, items: &Rc<[Item]>, range: Range<usize>) {
        let mut subshells = Vec::new();
        let mut at = range.start;
        while at < range.end {
            if !self.budget.step(1) {
                self.invocation.unreadable = true;
                return;
            }
            match &items[at] {
                Item::Open => subshells.push(self.changes.mark()),
                Item::Close => {
                    if let Some(mark) = subshells.pop() {
                        self.changes.back_to(mark);
                    }
                }
                Item::Function { name, end } => {
                    let body = at + 1..*end;
                    let function =
                        Function { name: name.clone(), items: Rc::clone(items), body, called: false };
                    self.script.functions.push(function);
                    at = (*end).max(at + 1);
                    continue;
                }
                Item::Command(command) => {
                    let outer = self.script.failure_is_lost;
                    self.script.failure_is_lost |=
                        loses_failure(command, items.get(at + 1), self.script.stops_on_error);
                    self.simple_command(command);
                    self.script.failure_is_lost = outer;
                }
            }
            at += 1;
        }
    }

    /// One simple command of a script: variables put in, then read like an argv.
    fn simple_command(&mut self, command: &Command) {
        let status = self.script.status.take();
        let never = match command.before {
            Operator::And => status == Some(false),
            Operator::Or => status == Some(true),
            _ => false,
        };
        if never {
            self.script.status = status;
            return;
        }
        self.script.maybe = command.branched || matches!(command.before, Operator::And | Operator::Or);
        let printed = self.script.printed.take().filter(|_| command.before == Operator::Pipe);
        let mut tokens = self.tokens(&command.words);
        if let Some(first) = tokens.first()
            && (first == "command" || first == "builtin")
            && tokens.len() > 1
            && !tokens[1].starts_with('-')
        {
            tokens.remove(0);
        }
        self.script.piped = printed.clone();
        match tokens.first().map(|first| &**first) {
            Some("true" | ":") => self.script.status = Some(true),
            Some("false") => self.script.status = Some(false),
            Some("echo") => {
                let words = tokens.iter().skip(1).filter(|word| !matches!(&***word, "-n" | "-e"));
                self.script.printed = Some(words.map(|word| word.to_string()).collect());
            }
            Some("cat") if tokens.len() == 1 => self.script.printed = printed,
            Some("xargs") => {
                let words = printed.unwrap_or_else(|| vec![UNKNOWN.to_string()]);
                let words = words.iter().flat_map(|words| words.split_whitespace());
                tokens.extend(words.map(|word| Cow::Owned(word.to_owned())));
            }
            _ => {}
        }
        if !self.builtin(&tokens) {
            let start = tokens.iter().take_while(|token| is_assignment(token)).count();
            let mark = self.changes.mark();
            self.assignments(&tokens, 0);
            if !self.call(&tokens[start..]) {
                self.command(&tokens, start, Level::Script);
                self.changes.back_to(mark);
            }
        }
        self.script.piped = None;
    }

    /// The words of a command, with everything put in that is known.
    fn tokens(&mut self, words: &[String]) -> Vec<Token<'static>> {
        let mut tokens: Vec<Token<'static>> = Vec::with_capacity(words.len());
        let mut assigns = true;
        for word in words {
            if !self.budget.step(1 + word.len() / 32) {
                self.invocation.unreadable = true;
                break;
            }
            assigns &=
                is_assignment(word) || matches!(word.as_str(), "export" | "env" | "declare" | "readonly");
            if let Some(from) = all_arguments(word) {
                let arguments = self.script.arguments.iter().skip(from);
                if !self.budget.text(arguments.clone().map(String::len).sum()) {
                    self.invocation.unreadable = true;
                    break;
                }
                tokens.extend(arguments.map(|word| Cow::Owned(word.clone())));
            } else if assigns || is_assignment(word) {
                tokens.push(Cow::Owned(self.expand(word)));
            } else if word.contains(['$', QUOTED]) {
                let text = self.expand_marked(word, 0);
                let split = text.contains(SPLIT);
                let parts = text.split(SPLIT).filter(|part| !split || !part.is_empty());
                let parts = parts.filter(|part| !part.is_empty() || word.contains(QUOTED));
                tokens.extend(parts.map(|part| Cow::Owned(part.replace(LITERAL, "$"))));
            } else {
                tokens.push(Cow::Owned(word.replace(LITERAL, "$")));
            }
        }
        tokens
    }

    /// Puts in the variables that are known; [`UNKNOWN`] stands for what cannot be read.
    pub(super) fn expand(&self, text: &str) -> String {
        if !text.contains(['$', QUOTED]) {
            return text.replace(LITERAL, "$");
        }
        self.expand_marked(text, 0).replace(SPLIT, " ").replace(LITERAL, "$")
    }

    fn expand_marked(&self, text: &str, depth: usize) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['$', QUOTED]) {
            out.push_str(&rest[..at]);
            let quoted = rest[at..].starts_with(QUOTED);
            let after = &rest[at + if quoted { QUOTED.len_utf8() } else { 1 }..];
            let Some((reference, tail)) = reference(after) else {
                // `$(` is left where a default value holds a substitution.
                let substitution = after.starts_with('(');
                out.push(if substitution { UNKNOWN } else { '$' });
                rest = if substitution { "" } else { after };
                continue;
            };
            let value = self.value_of(reference, depth);
            if out.len() + value.len() > LONGEST || !self.budget.text(value.len()) {
                out.push(UNKNOWN);
                return out;
            }
            if quoted {
                out.push_str(&value.replace(SPLIT, " "));
            } else if !value.contains(char::is_whitespace) {
                out.push_str(&value);
            } else {
                out.extend(value.chars().map(|c| if c.is_whitespace() { SPLIT } else { c }));
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }

    /// What stands in for `NAME`, or for `NAME:-default` and the like.
    fn value_of(&self, reference: &str, depth: usize) -> String {
        let end = reference.find(|c: char| !is_name_char(c)).unwrap_or(reference.len());
        let (name, operation) = reference.split_at(end);
        let unknown = || UNKNOWN.to_string();
        if name.is_empty() {
            return match reference {
                "@" | "*" => {
                    let arguments = self.script.arguments.get(1..).unwrap_or_default();
                    let length: usize = arguments.iter().map(|word| word.len() + 1).sum();
                    if self.budget.text(length) { arguments.join(" ") } else { unknown() }
                }
                "#" => self.script.arguments.len().saturating_sub(1).to_string(),
                _ => unknown(),
            };
        }
        let value = self.variable(name);
        let colon = operation.starts_with(':');
        let operation = operation.strip_prefix(':').unwrap_or(operation);
        let word =
            |word: &str| if depth < MAX_DEFAULTS { self.expand_marked(word, depth + 1) } else { unknown() };
        match operation.chars().next() {
            None if colon => unknown(),
            None => value.unwrap_or_else(unknown),
            Some('-' | '=') => match value {
                Some(value) if !(colon && value.is_empty()) => value,
                _ => word(&operation[1..]),
            },
            Some('?') => value.unwrap_or_else(unknown),
            Some('+') => match value {
                Some(value) if colon && value.is_empty() => String::new(),
                Some(_) => word(&operation[1..]),
                None => String::new(),
            },
            Some(_) => unknown(),
        }
    }

    /// The value of a variable as the script sees it so far; `None` where nothing sets it that we see.
    fn variable(&self, name: &str) -> Option<String> {
        if let Ok(index) = name.parse::<usize>() {
            return Some(self.script.arguments.get(index).cloned().unwrap_or_default());
        }
        match self.changes.of(name, self.budget) {
            Some(Changed::To(Some(value))) if value.len() <= LONGEST => Some(value.to_owned()),
            Some(Changed::To(_)) => Some(UNKNOWN.to_string()),
            Some(Changed::Away) => Some(String::new()),
            None => match (self.lookup)(name) {
                Known::Value(value) => Some(value),
                Known::Hidden => Some(UNKNOWN.to_string()),
                Known::Unset => None,
            },
        }
    }

    /// A function or an alias of the script. False when there is none of that name.
    fn call(&mut self, tokens: &[Token<'_>]) -> bool {
        let Some(name) = tokens.first() else { return false };
        if !self.budget.step(self.script.functions.len() / 8) {
            return false;
        }
        let Some(function) = self.script.functions.iter_mut().rev().find(|function| function.name == **name)
        else {
            return false;
        };
        function.called = true;
        let (items, body) = (Rc::clone(&function.items), function.body.clone());
        if self.depth >= MAX_DEPTH || !self.budget.step(tokens.len()) {
            self.invocation.unreadable = true;
            return true;
        }
        let arguments = tokens.iter().map(|token| token.to_string()).collect();
        let outer = std::mem::replace(&mut self.script.arguments, arguments);
        self.depth += 1;
        self.run(&items, body);
        self.depth -= 1;
        self.script.arguments = outer;
        true
    }

    /// Commands that change the script's own state. True when there is nothing else to see.
    fn builtin(&mut self, tokens: &[Token<'_>]) -> bool {
        let Some(first) = tokens.first() else { return true };
        let rest = &tokens[1..];
        let flags = |letter: char| {
            rest.iter().take_while(|word| word.starts_with('-')).any(|word| word.contains(letter))
        };
        match &**first {
            "export" if flags('n') => rest.iter().for_each(|name| self.hide(name)),
            "export" => self.declare(rest, true),
            "declare" | "typeset" | "local" | "readonly" => self.declare(rest, flags('x')),
            "unset" if flags('f') => {}
            "unset" => {
                for name in rest.iter().filter(|word| !word.starts_with('-')) {
                    // Only what Prefect reads is worth a doubt.
                    let ours = name.get(..8).is_some_and(|head| head.eq_ignore_ascii_case("PREFECT_"));
                    let doubtful = name.contains(UNKNOWN) || self.script.maybe && ours;
                    let gone = || Change::Unset(name.to_string());
                    self.changes.push(if doubtful { Change::Doubt } else { gone() });
                }
            }
            "read" => {
                for name in rest.iter().filter(|word| word.chars().all(is_name_char)) {
                    self.set(&format!("{name}={UNKNOWN}"), false);
                }
            }
            "for" | "select" => self.bind(rest),
            "eval" => {
                let script = rest.join(" ");
                if script.contains(UNKNOWN) {
                    self.invocation.opaque_exports = true;
                    self.invocation.unreadable = true;
                }
                self.read_script(&script, self.script.arguments.clone());
            }
            "trap" => {
                let rest = rest.strip_prefix(&[Cow::Borrowed("--")]).unwrap_or(rest);
                if let [script, _, ..] = rest {
                    self.read_script(script, self.script.arguments.clone());
                }
            }
            "alias" => {
                for alias in rest.iter().filter(|word| is_assignment(word)) {
                    let (name, text) = alias.split_once('=').unwrap_or_default();
                    if let Some(items) = lexer::items(&format!("{text} \"$@\"")) {
                        let body = 0..items.len();
                        let function =
                            Function { name: name.to_owned(), items: items.into(), body, called: true };
                        self.script.functions.push(function);
                    }
                }
            }
            "set" => self.set_options(rest),
            "shift" => {
                let count = rest.first().and_then(|count| count.parse().ok()).unwrap_or(1_usize);
                let end = count.saturating_add(1).min(self.script.arguments.len());
                self.script.arguments.drain(end.min(1)..end);
            }
            "." | "source" => self.invocation.opaque_exports = true,
            _ if tokens.iter().all(|word| is_assignment(word)) => {
                for word in tokens {
                    let exported = self.script.exports_all || self.is_exported(word);
                    self.set(word, exported);
                }
            }
            _ => return false,
        }
        true
    }

    /// `export NAME=VALUE NAME …`
    fn declare(&mut self, words: &[Token<'_>], exported: bool) {
        for word in words.iter().filter(|word| !word.starts_with('-')) {
            if is_assignment(word) {
                let exported = exported || self.script.exports_all || self.is_exported(word);
                self.set(word, exported);
            } else if word.contains(UNKNOWN) {
                self.invocation.opaque_exports = true;
            } else if exported {
                self.script.exported.insert(word.to_string());
                let Some(Changed::To(value)) = self.changes.of(word, self.budget) else { continue };
                let value = value.map(str::to_owned);
                if self.budget.text(value.as_ref().map_or(0, String::len)) {
                    self.changes.push(Change::Set { name: word.to_string(), value, exported: true });
                }
            }
        }
    }

    /// `export -n NAME`: the shell keeps it, programs do not see it.
    fn hide(&mut self, name: &str) {
        if !name.starts_with('-') {
            let value = self.variable(name).filter(|value| !value.contains(UNKNOWN));
            self.changes.push(Change::Set { name: name.to_owned(), value, exported: false });
        }
    }

    /// Whether programs see the variable of `NAME=VALUE` already: then they see what is assigned to it now.
    fn is_exported(&self, assignment: &str) -> bool {
        let name = assignment.split_once('=').map_or(assignment, |(name, _)| name);
        self.script.exported.contains(name)
            || self
                .changes
                .exports(name, self.budget)
                .unwrap_or_else(|| !matches!((self.lookup)(name), Known::Unset))
    }

    /// `for NAME in WORDS`: known when it goes round once.
    fn bind(&mut self, words: &[Token<'_>]) {
        let Some(name) = words.first().filter(|name| name.chars().all(is_name_char)) else { return };
        match words {
            [_, _in, value] => self.set(&format!("{name}={value}"), false),
            _ => self.set(&format!("{name}={UNKNOWN}"), false),
        }
    }

    /// `set -a`, `set -- WORDS`.
    fn set_options(&mut self, words: &[Token<'_>]) {
        let mut operands = words;
        while let Some((first, rest)) = operands.split_first() {
            let all = first.starts_with('-') && first.contains('a') || first == "allexport";
            self.script.exports_all |= all && !first.starts_with("--");
            self.script.stops_on_error |=
                first.starts_with('-') && !first.starts_with("--") && first.contains('e');
            if first == "--" || !first.starts_with(['-', '+']) {
                operands = if first == "--" { rest } else { operands };
                break;
            }
            // `-o pipefail`: the name of the option comes with it.
            let named = first.ends_with('o') && !rest.is_empty();
            self.script.exports_all |= named && rest[0] == "allexport";
            operands = &rest[usize::from(named)..];
        }
        if !operands.is_empty() || words.iter().any(|word| word == "--") {
            self.script.arguments.resize(1, "sh".to_owned());
            self.script.arguments.extend(operands.iter().map(|word| word.to_string()));
        }
    }
}

/// Whether the command may fail and the script goes on as if it had not.
fn loses_failure(command: &Command, next: Option<&Item>, stops_on_error: bool) -> bool {
    let follows = |next: &Command, operator: Operator, names: &[&str]| {
        let name = next.words.first().map(String::as_str).unwrap_or_default();
        next.before == operator && !next.grouped && names.contains(&name)
    };
    match (command.after, next) {
        (Operator::Background, _) => true,
        (Operator::Or, Some(Item::Command(next))) => {
            follows(next, Operator::Or, &["true", ":", "echo", "printf"])
        }
        (Operator::Sequence, Some(Item::Command(next))) if !stops_on_error => {
            follows(next, Operator::Sequence, &["true", ":"])
                || next.words.iter().map(String::as_str).eq(["exit", "0"])
        }
        _ => false,
    }
}

/// `$@`, `${@}`, `${@:2}`: all arguments from this one on.
fn all_arguments(word: &str) -> Option<usize> {
    let name = word.strip_prefix(['$', QUOTED])?;
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    match name.strip_prefix(['@', '*'])? {
        "" => Some(1),
        slice => slice.strip_prefix(':')?.trim().parse().ok(),
    }
}

/// The name behind a `$`, braces gone, and what follows it; `None` where no name stands there.
fn reference(after: &str) -> Option<(&str, &str)> {
    if after.starts_with('{') {
        let mut open = 0_usize;
        let end = after.char_indices().find(|(_, c)| {
            match c {
                '{' => open += 1,
                '}' => open -= 1,
                _ => {}
            }
            open == 0
        });
        // Cut off in the middle: nothing can be said of the rest.
        let (end, _) = end.unwrap_or((after.len() - 1, '}'));
        return Some((after.get(1..end).unwrap_or_default(), after.get(end + 1..).unwrap_or_default()));
    }
    let first = after.chars().next()?;
    let end = match first {
        '0'..='9' | '@' | '*' | '#' | '?' | '$' | '!' | '-' => 1,
        _ => after.find(|c: char| !is_name_char(c)).unwrap_or(after.len()),
    };
    (end > 0).then(|| after.split_at(end))
}
