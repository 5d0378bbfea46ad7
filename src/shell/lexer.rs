//! Cuts a shell script into its simple commands and what holds them together: branches, loops, functions.
//!
//! Nothing is evaluated here: variables stay in the words, and every branch is listed.

use crate::shell::programs::{self, Kind};
use crate::shell::references;
use crate::shell::syntax::{Branch, Command, Item, Nest, Operator, is_syntax, output};
use crate::shell::word::{Piece, Word};

/// How deep substitutions may nest before the script counts as unreadable.
const MAX_DEPTH: usize = 8;

/// The most commands looked at; a longer script is somebody's program, not a start command.
const MAX_COMMANDS: usize = 2_000;

/// The items of `script` in the order written, those of substitutions before the command that holds them. `None`
/// when quotes or substitutions do not close.
pub(super) fn items(script: &str) -> Option<Vec<Item>> {
    let mut found = Found::default();
    Cutter::new(script, 0, &mut found).run(None)?;
    Some(found.items)
}

/// What might be commands in a script that could not be cut up: pieces between operators, without their quotes.
pub(super) fn rough_items(script: &str) -> Vec<Item> {
    let pieces = script.split([';', '&', '|', '\n', '(', ')', '`', '{', '}']);
    let bare = |word: &str| rough_word(&word.replace(['\'', '"', '\\'], ""));
    let words = |piece: &str| piece.split_whitespace().map(bare).collect();
    let command = |words| Item::Command(Command { words, ..Command::default() });
    pieces.filter(|piece| piece.contains("prefect")).take(MAX_COMMANDS).map(words).map(command).collect()
}

/// A word of such a piece, its variables found.
fn rough_word(text: &str) -> Word {
    let mut word = Word::default();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        word.push_text(&rest[..at]);
        rest = references::plain(&rest[at + 1..], false, &mut word);
    }
    word.push_text(rest);
    word
}

/// The words of a text that is split as a shell splits it, and by `env -S`; `None` when quotes do not close.
pub(super) fn words(text: &str) -> Option<Vec<Word>> {
    let mut found = Vec::new();
    for item in items(text)? {
        match item {
            Item::Command(command) => found.extend(command.words),
            _ => return None,
        }
    }
    Some(found)
}

/// What has been cut off so far.
#[derive(Default)]
struct Found {
    items: Vec<Item>,
    commands: usize,
}

struct Cutter<'s, 'f> {
    text: &'s str,
    rest: &'s str,
    depth: usize,
    found: &'f mut Found,
    /// The words of the command that is being read.
    words: Vec<Word>,
    /// The word that is being read.
    word: Option<Word>,
    /// The next word is where something is redirected to.
    redirects: bool,
    /// Something is redirected into the command that is being read.
    input: bool,
    /// Where the command that is being read begins.
    start: usize,
    /// What stood before it.
    operator: Operator,
    /// Groups that are open, with the function whose body they are.
    groups: Vec<Group>,
    /// How many of them are subshells.
    round: usize,
    /// How many branches and loops are open.
    branches: usize,
    /// `case` statements that are open: whether a pattern is being read.
    cases: Vec<bool>,
    /// `name()` was read, and its body comes.
    function: Option<String>,
}

#[derive(Clone, Copy)]
struct Group {
    round: bool,
    function: Option<usize>,
}

/// A here-document announced on the current line: where it ends, and whether a shell reads it.
struct HereDoc {
    end: String,
    strip_tabs: bool,
    script: bool,
}

impl<'s, 'f> Cutter<'s, 'f> {
    fn new(text: &'s str, depth: usize, found: &'f mut Found) -> Self {
        Cutter {
            text,
            rest: text,
            depth,
            found,
            words: Vec::new(),
            word: None,
            redirects: false,
            input: false,
            start: 0,
            operator: Operator::default(),
            groups: Vec::new(),
            round: 0,
            branches: 0,
            cases: Vec::new(),
            function: None,
        }
    }

    /// Reads commands up to `close` (the end of a substitution) or the end of the text.
    fn run(&mut self, close: Option<char>) -> Option<()> {
        let mut heredocs: Vec<HereDoc> = Vec::new();
        while let Some(c) = self.bump() {
            match c {
                '\n' => {
                    self.end_command(Operator::Sequence)?;
                    for heredoc in heredocs.drain(..) {
                        self.here_document(&heredoc)?;
                    }
                }
                ' ' | '\t' => self.end_word()?,
                '#' if self.word.is_none() => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                '`' if close == Some('`') => return self.end(),
                '<' if self.rest.starts_with('<') && !self.rest.starts_with("<<") => {
                    self.bump();
                    self.end_word()?;
                    self.input = true;
                    heredocs.push(self.announce());
                }
                '<' if self.rest.starts_with("<<") => {
                    self.rest = &self.rest[2..];
                    self.end_word()?;
                    let first = self.words.first().and_then(Word::name);
                    if first.is_some_and(|name| programs::of(name).kind == Kind::Shell) {
                        // The word behind it is a script, which is not followed.
                        self.words.push(Word::from("<<<"));
                    } else {
                        (self.redirects, self.input) = (true, true);
                    }
                }
                '<' | '>' if self.rest.starts_with('(') => {
                    self.bump();
                    self.nested(')')?;
                }
                '<' | '>' => {
                    self.input |= c == '<';
                    self.redirection()?;
                }
                '&' if self.rest.starts_with('>') => {}
                '(' if self.cases.last() == Some(&true) => {}
                '(' => self.open()?,
                ')' if self.cases.last() == Some(&true) => {
                    self.end_word()?;
                    let patterns = std::mem::take(&mut self.words);
                    self.found.items.push(Item::Branch(Branch::Patterns(patterns)));
                    self.set_pattern(false);
                }
                ')' => {
                    if close == Some(')') && self.round == 0 {
                        return self.end();
                    }
                    self.end_command(Operator::Sequence)?;
                    self.close(true);
                }
                '|' if self.cases.last() == Some(&true) => self.end_word()?,
                ';' | '&' | '|' => self.operator_at(c)?,
                c => self.character(c)?,
            }
        }
        if close.is_some() {
            return None;
        }
        self.end()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// The word that is being read; it begins here if there is none.
    fn word(&mut self) -> &mut Word {
        if self.word.is_none() && self.words.is_empty() {
            self.start = self.text.len() - self.rest.len();
        }
        self.word.get_or_insert_default()
    }

    /// One character that belongs to a word, or begins a quoted piece of it.
    fn character(&mut self, c: char) -> Option<()> {
        if self.word.is_none() && self.words.is_empty() {
            self.word();
            self.start -= c.len_utf8();
        }
        match c {
            '\\' => match self.bump() {
                Some('\n') => {
                    if self.word.as_ref().is_some_and(Word::is_empty) {
                        self.word = None;
                    }
                }
                Some(next) => self.word().push(next),
                None => return None,
            },
            '\'' => {
                let end = self.rest.find('\'')?;
                let text = &self.rest[..end];
                self.rest = &self.rest[end + 1..];
                self.word().push_text(text);
            }
            '"' => self.double_quoted()?,
            '`' => self.nested('`')?,
            '$' => self.dollar(false)?,
            other => self.word().push(other),
        }
        Some(())
    }

    /// What stands in double quotes.
    fn double_quoted(&mut self) -> Option<()> {
        self.word();
        loop {
            match self.bump()? {
                '"' => return Some(()),
                '\\' => match self.bump()? {
                    '\n' => {}
                    c @ ('$' | '`' | '"' | '\\') => self.word().push(c),
                    c => {
                        self.word().push('\\');
                        self.word().push(c);
                    }
                },
                '`' => self.nested('`')?,
                '$' => self.dollar(true)?,
                c => self.word().push(c),
            }
        }
    }

    /// What begins with a `$`.
    fn dollar(&mut self, quoted: bool) -> Option<()> {
        self.word();
        match self.rest.chars().next() {
            Some('(') => {
                self.bump();
                self.nested(')')
            }
            // bash: `$'…'` knows escapes that hide letters, `$"…"` is `"…"`.
            Some('\'') if !quoted => {
                let end = self.rest[1..].find('\'')?;
                let text = &self.rest[1..=end];
                if text.replace("\\n", "").replace("\\t", "").contains('\\') {
                    return None;
                }
                Some(())
            }
            Some('"') if !quoted => Some(()),
            Some('{') => {
                let mut word = self.word.take().unwrap_or_default();
                self.rest = references::braced(self.rest, quoted, &mut word)?;
                self.word = Some(word);
                Some(())
            }
            _ => {
                let mut word = self.word.take().unwrap_or_default();
                self.rest = references::plain(self.rest, quoted, &mut word);
                self.word = Some(word);
                Some(())
            }
        }
    }

    /// The word ends: it goes to the others, unless it is syntax.
    fn end_word(&mut self) -> Option<()> {
        let Some(word) = self.word.take() else { return Some(()) };
        if std::mem::take(&mut self.redirects) {
            return Some(());
        }
        let is_in = word.is("in");
        self.words.push(word);
        if self.cases.last() == Some(&true) {
            if self.words.len() == 1 && self.words[0].is("esac") {
                self.words.clear();
                self.leave_case();
            }
        } else if is_in && self.words.len() >= 3 && self.words[self.words.len() - 3].is("case") {
            let case = self.words.len() - 3;
            if self.words[..case].iter().all(is_syntax) {
                let subject = self.words.swap_remove(case + 1);
                self.words.truncate(case);
                self.end_command(Operator::Sequence)?;
                self.found.items.push(Item::Branch(Branch::Case(subject)));
                self.branches += 1;
                self.cases.push(true);
            }
        }
        Some(())
    }

    fn set_pattern(&mut self, reads: bool) {
        if let Some(case) = self.cases.last_mut() {
            *case = reads;
        }
    }

    fn leave_case(&mut self) {
        if self.cases.pop().is_some() {
            self.branches = self.branches.saturating_sub(1);
            self.found.items.push(Item::Branch(Branch::End));
        }
    }

    /// A `<` or `>`: a number before it belongs to it, and the word behind it.
    fn redirection(&mut self) -> Option<()> {
        let is_number =
            |word: &Word| word.known().is_some_and(|w| w.len() == 1 && w.as_bytes()[0].is_ascii_digit());
        if self.word.as_ref().is_some_and(is_number) {
            self.word = None;
        }
        self.end_word()?;
        // `2>&1`, `>&2` and `>|`: the sign belongs to the redirection.
        while self.rest.starts_with(['>', '&', '|']) {
            self.bump();
        }
        self.redirects = true;
        Some(())
    }

    /// The operator that begins with `first`.
    fn operator_at(&mut self, first: char) -> Option<()> {
        let twice = self.rest.starts_with(first);
        let falls = first == ';' && (self.rest.starts_with('&') || self.rest.starts_with(";&"));
        if twice || first == '|' && self.rest.starts_with('&') {
            self.bump();
        }
        let operator = match (first, twice) {
            ('&', true) => Operator::And,
            ('&', false) => Operator::Background,
            ('|', true) => Operator::Or,
            ('|', false) => Operator::Pipe,
            _ => Operator::Sequence,
        };
        self.end_command(operator)?;
        if first == ';' && !self.cases.is_empty() && (twice || falls) {
            if falls {
                self.bump();
                self.found.items.push(Item::Branch(Branch::FallThrough));
            }
            self.set_pattern(true);
        }
        Some(())
    }

    /// The end of the text, or of a substitution: every function ends here too.
    fn end(&mut self) -> Option<()> {
        self.end_command(Operator::Sequence)?;
        while let Some(group) = self.groups.pop() {
            self.leave(group);
        }
        Some(())
    }

    /// A `(`: the parameter list of a function, or a subshell.
    fn open(&mut self) -> Option<()> {
        self.end_word()?;
        let name = match self.words.as_slice() {
            [name] => name.known(),
            [function, name] if function.is("function") => name.known(),
            _ => None,
        };
        let is_name = |name: &str| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
        };
        let after = self.rest.trim_start_matches([' ', '\t']);
        if let Some(name) = name.filter(|name| is_name(name))
            && let Some(after) = after.strip_prefix(')')
        {
            self.function = Some(name.to_owned());
            self.rest = after;
            self.words.clear();
            return Some(());
        }
        self.end_command(Operator::Sequence)?;
        self.enter(true);
        Some(())
    }

    fn enter(&mut self, round: bool) {
        let function = self.function.take().map(|name| {
            self.found.items.push(Item::Function { name, end: 0 });
            self.found.items.len() - 1
        });
        self.groups.push(Group { round, function });
        if round {
            self.round += 1;
            self.found.items.push(Item::Open(Nest::Subshell));
        }
    }

    /// Closes the innermost group, if it is of this kind.
    fn close(&mut self, round: bool) {
        if let Some(group) = self.groups.pop_if(|group| group.round == round) {
            self.leave(group);
        }
    }

    fn leave(&mut self, group: Group) {
        if group.round {
            self.round -= 1;
            self.found.items.push(Item::Close);
        }
        let length = self.found.items.len();
        if let Some(index) = group.function
            && let Item::Function { end, .. } = &mut self.found.items[index]
        {
            *end = length;
        }
    }

    /// The commands of `$(…)` or backticks; the outer command gets what they print, where that is known.
    fn nested(&mut self, close: char) -> Option<()> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.found.items.push(Item::Open(Nest::Substitution));
        let before = self.found.items.len();
        let mut inner = Cutter::new(self.rest, self.depth + 1, self.found);
        inner.run(Some(close))?;
        self.rest = inner.rest;
        let printed = output(&self.found.items[before..]);
        self.found.items.push(Item::Close);
        let word = self.word();
        match printed {
            Some(printed) => {
                for (index, piece) in printed.into_iter().enumerate() {
                    if index > 0 {
                        word.push(' ');
                    }
                    word.append(piece);
                }
            }
            None => word.push_piece(Piece::Unknown),
        }
        Some(())
    }

    /// Reads the word after `<<`.
    fn announce(&mut self) -> HereDoc {
        let strip_tabs = self.rest.starts_with('-');
        let text = self.rest.trim_start_matches('-').trim_start_matches([' ', '\t']);
        let end = text.find([' ', '\t', '\n', ';', '|', '&', '>', ')', '<']).unwrap_or(text.len());
        let word = text[..end].replace(['\'', '"', '\\'], "");
        self.rest = &text[end..];
        let reader = self.words.first().and_then(Word::name);
        let script = reader.is_some_and(|name| programs::of(name).kind == Kind::Shell);
        HereDoc { end: word, strip_tabs, script }
    }

    /// Skips the body of a here-document, or reads it as a script when a shell does.
    fn here_document(&mut self, heredoc: &HereDoc) -> Option<()> {
        let mut body = String::new();
        while !self.rest.is_empty() {
            let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            self.rest = rest;
            let line = if heredoc.strip_tabs { line.trim_start_matches('\t') } else { line };
            if line == heredoc.end {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        if heredoc.script && self.depth < MAX_DEPTH {
            Cutter::new(&body, self.depth + 1, self.found).run(None)?;
        }
        Some(())
    }

    /// Ends a simple command, and reads the words before it that are syntax.
    fn end_command(&mut self, after: Operator) -> Option<()> {
        self.end_word()?;
        self.redirects = false;
        if self.cases.last() == Some(&true) {
            return Some(());
        }
        let mut words = std::mem::take(&mut self.words).into_iter().peekable();
        let (mut grouped, mut negated) = (false, false);
        while let Some(word) = words.next_if(is_syntax) {
            match word.known().unwrap_or_default() {
                "{" => {
                    grouped = true;
                    self.enter(false);
                }
                "}" => self.close(false),
                "function" => self.function = words.next().and_then(|name| name.known().map(str::to_owned)),
                "!" => negated = !negated,
                "esac" => self.leave_case(),
                syntax => self.branch(syntax),
            }
        }
        let kept: Vec<Word> = words.filter(|word| !word.is("}")).collect();
        if kept.is_empty() {
            if after != Operator::Sequence {
                self.operator = after;
            }
            return Some(());
        }
        if self.found.commands == MAX_COMMANDS {
            return None;
        }
        self.found.commands += 1;
        self.function = None;
        let before = std::mem::replace(&mut self.operator, after);
        let loops = kept[0].is_one_of(&["for", "select"]);
        let top = self.depth == 0 && self.groups.is_empty() && self.branches == 0 && !negated;
        let start = (top && !loops).then_some(self.start);
        let in_group = !self.groups.is_empty();
        let input = std::mem::take(&mut self.input);
        let command = Command { words: kept, before, after, grouped, negated, in_group, input, start };
        self.found.items.push(Item::Command(command));
        if loops {
            self.found.items.push(Item::Branch(Branch::For));
            self.branches += 1;
        }
        Some(())
    }

    /// A word of a branch or a loop.
    fn branch(&mut self, word: &str) {
        let branch = match word {
            "if" => Branch::If,
            "then" => Branch::Then,
            "elif" => Branch::Elif,
            "else" => Branch::Else,
            "fi" => Branch::End,
            "while" | "until" => Branch::While,
            "done" => Branch::Done,
            // `do` says nothing.
            _ => return,
        };
        match branch {
            Branch::If | Branch::While => self.branches += 1,
            Branch::End | Branch::Done => self.branches = self.branches.saturating_sub(1),
            _ => {}
        }
        self.found.items.push(Item::Branch(branch));
    }
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
