//! What a script is made of: simple commands, what stands between them, and the words of branches and loops.

use crate::shell::word::Word;

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
    /// A subshell or a substitution begins.
    Open(Nest),
    /// It ends.
    Close,
    /// A function; its body is what follows, up to the item at `end`.
    Function { name: String, end: usize },
    /// A word of a branch or a loop.
    Branch(Branch),
}

/// What is run by a shell of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nest {
    /// `(…)`
    Subshell,
    /// `$(…)` and backticks.
    Substitution,
}

/// The words of branches and loops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Branch {
    /// `if`: the condition follows.
    If,
    /// `then`: what is run where the condition holds.
    Then,
    /// `elif`: another condition.
    Elif,
    /// `else`
    Else,
    /// `fi` and `esac`
    End,
    /// `while` and `until`: their condition and body follow.
    While,
    /// `for NAME in …`: its body follows.
    For,
    /// `done`
    Done,
    /// `case WORD in`
    Case(Word),
    /// `PATTERN|PATTERN)`
    Patterns(Vec<Word>),
    /// `;&`: the next branch is run too.
    FallThrough,
}

/// One simple command of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// Its words, quotes removed.
    pub words: Vec<Word>,
    /// What stands before it.
    pub before: Operator,
    /// What stands behind it.
    pub after: Operator,
    /// It opens a group: `{ a; b; }`.
    pub grouped: bool,
    /// `!` stands before it.
    pub negated: bool,
    /// Something is redirected into it.
    pub input: bool,
    /// It stands in a group or in the body of a function.
    pub in_group: bool,
    /// Where it begins in the script, unless it stands in a group, a branch, a function or a substitution.
    pub start: Option<usize>,
}

/// What a substitution prints, where it only names a program or says words.
pub(super) fn output(items: &[Item]) -> Option<Vec<Word>> {
    let [Item::Command(Command { words, .. })] = items else { return None };
    let first = |wanted: &str| words.first().is_some_and(|word| word.is(wanted));
    let second = |wanted: &[&str]| words.get(1).is_some_and(|word| word.is_one_of(wanted));
    let from = match words.len() {
        2 if first("which") => 1,
        3 if first("command") && second(&["-v"]) || first("type") && second(&["-p", "-P"]) => 2,
        3 if first("printf") && second(&["%s", "%s\\n"]) => 2,
        _ if first("echo") => 1 + usize::from(second(&["-n"])),
        _ => return None,
    };
    Some(words[from..].to_vec())
}

/// Whether a word introduces a command without being one.
pub(super) fn is_syntax(word: &Word) -> bool {
    word.is_one_of(&[
        "if", "then", "else", "elif", "fi", "while", "until", "do", "done", "{", "}", "!", "esac", "function",
    ])
}
