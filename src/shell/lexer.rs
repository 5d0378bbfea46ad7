//! Cuts a shell script into its simple commands, well enough to see what `sh -c '…'` runs.
//!
//! Words are split by `shlex`; what it does not know (operators, substitutions, here-documents, comments) is cut
//! away before. This is no shell: conditions are not evaluated, every branch counts as run.
//!
//! Quotes go when words are split, so a `$` is marked by where it stood, and what a substitution prints is marked as
//! not known. The markers are Unicode noncharacters, never meant for interchange.

/// Stands for text that cannot be read, such as what a program prints.
pub(crate) const UNKNOWN: char = '\u{fdd1}';
/// A `$` that is no reference: in single quotes, or behind a backslash.
pub(super) const LITERAL: char = '\u{fdd2}';
/// A `$` in double quotes: what it stands for is not split into words.
pub(super) const QUOTED: char = '\u{fdd3}';
/// Where the value of an unquoted variable is split.
pub(super) const SPLIT: char = '\u{fdd4}';

/// How deep substitutions may nest before the script counts as unreadable.
const MAX_DEPTH: usize = 8;

/// The most commands looked at; a longer script is somebody's program, not a start command.
const MAX_COMMANDS: usize = 2_000;

/// The words of one simple command, quotes removed.
pub(crate) type Words = Vec<String>;

/// What stands between two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Operator {
    /// `;`, a new line, or an end.
    #[default]
    Sequence,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|`
    Pipe,
    /// `&`
    Background,
}

/// A piece of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A simple command.
    Command(Command),
    /// A subshell begins: `(`, `$(` or a backtick.
    Open,
    /// It ends.
    Close,
    /// A function; its body is what follows, up to the item at `end`.
    Function { name: String, end: usize },
}

/// One simple command of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Command {
    pub words: Words,
    pub before: Operator,
    pub after: Operator,
    /// It opens a group: `{ a; b; }`.
    pub grouped: bool,
    /// It stands in a branch or a loop.
    pub branched: bool,
}

/// The items of `script` in the order written, those of substitutions before the command that holds them. `None`
/// when quotes or substitutions do not close.
pub(super) fn items(script: &str) -> Option<Vec<Item>> {
    let mut found = Found::default();
    Cutter::new(&unmarked(script), 0, &mut found).run(None)?;
    Some(found.items)
}

/// What might be commands in a script that could not be cut up: pieces between operators, without their quotes.
pub(super) fn rough_items(script: &str) -> Vec<Item> {
    let script = unmarked(script);
    let pieces = script.split([';', '&', '|', '\n', '(', ')', '`', '{', '}']);
    let bare = |word: &str| word.replace(['\'', '"', '\\'], "");
    let words = |piece: &str| piece.split_whitespace().map(bare).collect::<Words>();
    let command = |words| Item::Command(Command { words, ..Command::default() });
    pieces.filter(|piece| piece.contains("prefect")).take(MAX_COMMANDS).map(words).map(command).collect()
}

/// The text without our own markers.
fn unmarked(text: &str) -> String {
    text.replace([UNKNOWN, LITERAL, QUOTED, SPLIT], "\u{fffd}")
}

/// What has been cut off so far.
#[derive(Default)]
struct Found {
    items: Vec<Item>,
    commands: usize,
}

struct Cutter<'s, 'f> {
    rest: &'s str,
    depth: usize,
    found: &'f mut Found,
    /// What stood before the command that is being read.
    operator: Operator,
    /// Groups that are open, with the function whose body they are.
    groups: Vec<Group>,
    /// How many of them are subshells.
    round: usize,
    /// How many branches and loops are open.
    branches: usize,
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
    fn new(rest: &'s str, depth: usize, found: &'f mut Found) -> Self {
        Cutter {
            rest,
            depth,
            found,
            operator: Operator::default(),
            groups: Vec::new(),
            round: 0,
            branches: 0,
            function: None,
        }
    }

    /// Reads commands up to `close` (the end of a substitution) or the end of the text.
    fn run(&mut self, close: Option<char>) -> Option<()> {
        let mut piece = String::new();
        let mut double = false;
        let mut heredocs: Vec<HereDoc> = Vec::new();
        while let Some(c) = self.bump() {
            match c {
                '\\' => match self.bump() {
                    Some('\n') => {}
                    Some('$') => piece.push(LITERAL),
                    Some(next) => piece.extend(['\\', next]),
                    None => piece.push('\\'),
                },
                '\'' if !double => {
                    let end = self.rest.find('\'')?;
                    piece.push('\'');
                    piece.extend(self.rest[..=end].chars().map(|c| if c == '$' { LITERAL } else { c }));
                    self.rest = &self.rest[end + 1..];
                }
                '"' => {
                    double = !double;
                    piece.push('"');
                }
                '`' if close == Some('`') && !double => return self.end(&mut piece),
                '`' => self.nested('`', double, &mut piece)?,
                '$' if self.rest.starts_with('(') => {
                    self.bump();
                    self.nested(')', double, &mut piece)?;
                }
                '$' if self.rest.starts_with('{') => self.braced(double, &mut piece)?,
                // bash: `$'…'` knows escapes that hide letters, `$"…"` is `"…"`.
                '$' if !double && self.rest.starts_with('\'') => {
                    let end = self.rest[1..].find('\'')?;
                    let text = &self.rest[1..=end];
                    if text.replace("\\n", "").replace("\\t", "").contains('\\') {
                        return None;
                    }
                }
                '$' if !double && self.rest.starts_with('"') => {}
                '$' if double => piece.push(QUOTED),
                '#' if !double && piece.chars().last().is_none_or(char::is_whitespace) => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                '<' if !double && self.rest.starts_with('<') && !self.rest.starts_with("<<") => {
                    self.bump();
                    heredocs.push(self.announce(&piece));
                }
                '>' if !double => {
                    // `2>&1` and `>&2`: the ampersand belongs to the redirection.
                    piece.push_str(" > ");
                    if self.rest.starts_with('&') || self.rest.starts_with('|') {
                        self.bump();
                    }
                }
                '&' if !double && self.rest.starts_with('>') => {}
                '\n' if !double => {
                    self.finish(&mut piece, Operator::Sequence)?;
                    for heredoc in heredocs.drain(..) {
                        self.here_document(&heredoc)?;
                    }
                }
                '(' if !double => self.open(&mut piece)?,
                ')' if !double => {
                    if close == Some(')') && self.round == 0 {
                        return self.end(&mut piece);
                    }
                    self.finish(&mut piece, Operator::Sequence)?;
                    self.close(true);
                }
                ';' | '&' | '|' if !double => {
                    let operator = self.operator_at(c);
                    self.finish(&mut piece, operator)?;
                }
                // Leading blanks say nothing, and would be passed over again and again.
                blank if piece.is_empty() && blank.is_whitespace() => {}
                other => piece.push(other),
            }
        }
        if double || close.is_some() {
            return None;
        }
        self.end(&mut piece)
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// The operator that begins with `first`.
    fn operator_at(&mut self, first: char) -> Operator {
        let twice = self.rest.starts_with(first);
        if twice || first == '|' && self.rest.starts_with('&') {
            self.bump();
        }
        match (first, twice) {
            ('&', true) => Operator::And,
            ('&', false) => Operator::Background,
            ('|', true) => Operator::Or,
            ('|', false) => Operator::Pipe,
            _ => Operator::Sequence,
        }
    }

    /// The end of the text, or of a substitution: every function ends here too.
    fn end(&mut self, piece: &mut String) -> Option<()> {
        self.finish(piece, Operator::Sequence)?;
        while let Some(group) = self.groups.pop() {
            self.leave(group);
        }
        Some(())
    }

    /// A `(`: the parameter list of a function, or a subshell.
    fn open(&mut self, piece: &mut String) -> Option<()> {
        let name = piece.trim().trim_start_matches("function ").trim();
        let after = self.rest.trim_start_matches([' ', '\t']);
        let is_name = !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
        if is_name && let Some(after) = after.strip_prefix(')') {
            self.function = Some(name.to_owned());
            self.rest = after;
            piece.clear();
            return Some(());
        }
        self.finish(piece, Operator::Sequence)?;
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
            self.found.items.push(Item::Open);
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

    /// The commands of `$(…)` or backticks; the outer command gets what they print, where that can be told.
    fn nested(&mut self, close: char, double: bool, piece: &mut String) -> Option<()> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.found.items.push(Item::Open);
        let before = self.found.items.len();
        let mut inner = Cutter::new(self.rest, self.depth + 1, self.found);
        inner.run(Some(close))?;
        self.rest = inner.rest;
        match output(&self.found.items[before..]) {
            Some(words) => {
                for (index, word) in words.iter().enumerate() {
                    if index > 0 {
                        piece.push(' ');
                    }
                    for c in word.chars().filter(|c| *c != '\n') {
                        if matches!(c, '"' | '\\' | '`') || !double && !c.is_alphanumeric() {
                            piece.push('\\');
                        }
                        piece.push(c);
                    }
                }
            }
            None => piece.push(UNKNOWN),
        }
        self.found.items.push(Item::Close);
        Some(())
    }

    /// `${NAME:-some words}` stays one word; quotes in it go.
    fn braced(&mut self, double: bool, piece: &mut String) -> Option<()> {
        let mut open = 0_usize;
        let (end, _) = self.rest.char_indices().find(|(_, c)| {
            match c {
                '{' => open += 1,
                '}' => open -= 1,
                _ => {}
            }
            open == 0
        })?;
        piece.push(if double { QUOTED } else { '$' });
        for c in self.rest[..=end].chars().filter(|c| !matches!(c, '\'' | '"' | '\\')) {
            if !double && !c.is_alphanumeric() && !matches!(c, '$' | '{' | '}') {
                piece.push('\\');
            }
            piece.push(c);
        }
        self.rest = &self.rest[end + 1..];
        Some(())
    }

    /// Reads the word after `<<`.
    fn announce(&mut self, piece: &str) -> HereDoc {
        let strip_tabs = self.rest.starts_with('-');
        let text = self.rest.trim_start_matches('-').trim_start_matches([' ', '\t']);
        let end = text.find([' ', '\t', '\n', ';', '|', '&', '>', ')', '<']).unwrap_or(text.len());
        let word = text[..end].replace(['\'', '"', '\\'], "");
        self.rest = &text[end..];
        // The name of a shell is short: the rest of the line is not looked at for each document again.
        let reader: String = piece.chars().take(64).take_while(|c| !c.is_whitespace()).collect();
        HereDoc {
            end: word,
            strip_tabs,
            script: crate::shell::words::is_shell(&reader.replace(['\'', '"', '\\'], "")),
        }
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

    /// Ends a simple command: splits it into words and drops what a shell reads as syntax.
    fn finish(&mut self, piece: &mut String, after: Operator) -> Option<()> {
        let words = shlex::split(piece)?;
        piece.clear();
        let mut words = words.into_iter().peekable();
        let mut grouped = false;
        while let Some(word) = words.next_if(|word| is_syntax(word)) {
            match word.as_str() {
                "{" => {
                    grouped = true;
                    self.enter(false);
                }
                "}" => self.close(false),
                "function" => self.function = words.next(),
                "if" | "while" | "until" => self.branches += 1,
                "fi" | "done" => self.branches = self.branches.saturating_sub(1),
                _ => {}
            }
        }
        let mut kept = Words::new();
        while let Some(word) = words.next() {
            if word == ">" || word == "<" {
                words.next();
                if kept.last().is_some_and(|last| last.len() == 1 && last.as_bytes()[0].is_ascii_digit()) {
                    kept.pop();
                }
            } else if word != "}" {
                kept.push(word);
            }
        }
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
        let branched = self.branches > 0;
        let before = std::mem::replace(&mut self.operator, after);
        self.found.items.push(Item::Command(Command { words: kept, before, after, grouped, branched }));
        Some(())
    }
}

/// What a substitution prints, where it only names a program or says words.
fn output(items: &[Item]) -> Option<Words> {
    let [Item::Command(Command { words, .. })] = items else { return None };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let printed = match words.as_slice() {
        ["which", program] | ["command", "-v", program] | ["type", "-p" | "-P", program] => &[*program],
        ["printf", "%s" | "%s\\n", word] => &[*word],
        ["echo", "-n", words @ ..] | ["echo", words @ ..] => words,
        _ => return None,
    };
    Some(printed.iter().map(|word| (*word).to_owned()).collect())
}

/// Words that introduce a command without being one.
fn is_syntax(word: &str) -> bool {
    matches!(
        word,
        "if" | "then"
            | "else"
            | "elif"
            | "fi"
            | "while"
            | "until"
            | "do"
            | "done"
            | "{"
            | "}"
            | "!"
            | "esac"
            | "function"
    )
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
