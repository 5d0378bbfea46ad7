//! Cuts a shell script into its simple commands, well enough to see what `sh -c '…'` runs.
//!
//! Words are split by `shlex`; what it does not know (operators, substitutions, here-documents, comments) is cut
//! away before. This is no shell: conditions are not evaluated, every branch counts as run.

/// One simple command of a script: its words, quotes removed.
pub(crate) type Words = Vec<String>;

/// How deep substitutions may nest before the script counts as unreadable.
const MAX_DEPTH: usize = 8;

/// The most commands looked at; a longer script is somebody's program, not a start command.
const MAX_COMMANDS: usize = 2_000;

/// The simple commands of `script` in the order written, those of substitutions before the command that holds
/// them. `None` when quotes or substitutions do not close.
pub(crate) fn commands(script: &str) -> Option<Vec<Words>> {
    let mut found = Vec::new();
    let mut cutter = Cutter { rest: script, depth: 0, found: &mut found };
    cutter.run(None)?;
    Some(found)
}

/// What might be commands in a script that could not be cut up: pieces between operators, without their quotes.
pub(crate) fn rough_commands(script: &str) -> Vec<Words> {
    let pieces = script.split([';', '&', '|', '\n', '(', ')', '`', '{', '}']);
    let bare = |word: &str| word.replace(['\'', '"', '\\'], "");
    let words = |piece: &str| piece.split_whitespace().map(bare).collect::<Words>();
    pieces.filter(|piece| piece.contains("prefect")).take(MAX_COMMANDS).map(words).collect()
}

struct Cutter<'s, 'f> {
    rest: &'s str,
    depth: usize,
    found: &'f mut Vec<Words>,
}

/// A here-document announced on the current line: where it ends, and whether a shell reads it.
struct HereDoc {
    end: String,
    strip_tabs: bool,
    script: bool,
}

impl Cutter<'_, '_> {
    /// Reads commands up to `close` (the end of a substitution) or the end of the text.
    fn run(&mut self, close: Option<char>) -> Option<()> {
        let mut piece = String::new();
        let mut double = false;
        let mut heredocs: Vec<HereDoc> = Vec::new();
        while let Some(c) = self.bump() {
            match c {
                '\\' => match self.bump() {
                    Some('\n') => {}
                    Some(next) => piece.extend(['\\', next]),
                    None => piece.push('\\'),
                },
                '\'' if !double => {
                    let end = self.rest.find('\'')?;
                    piece.push('\'');
                    piece.push_str(&self.rest[..=end]);
                    self.rest = &self.rest[end + 1..];
                }
                '"' => {
                    double = !double;
                    piece.push('"');
                }
                '`' if close == Some('`') && !double => {
                    self.finish(&mut piece)?;
                    return Some(());
                }
                '`' => self.nested('`', &mut piece)?,
                '$' if self.rest.starts_with('(') => {
                    self.bump();
                    self.nested(')', &mut piece)?;
                }
                '$' if self.rest.starts_with('{') => self.braced(double, &mut piece)?,
                // bash: `$'…'` knows escapes that hide letters, `$"…"` is `"…"`.
                '$' if !double && self.rest.starts_with('\'') => {
                    let end = self.rest[1..].find('\'')?;
                    if self.rest[1..=end].contains('\\') {
                        return None;
                    }
                }
                '$' if !double && self.rest.starts_with('"') => {}
                '#' if !double && piece.chars().last().is_none_or(char::is_whitespace) => {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                '<' if !double && self.rest.starts_with('<') && !self.rest.starts_with("<<") => {
                    self.bump();
                    heredocs.push(self.announce(&piece)?);
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
                    self.finish(&mut piece)?;
                    for heredoc in heredocs.drain(..) {
                        self.here_document(&heredoc)?;
                    }
                }
                ')' if !double && close == Some(')') => {
                    self.finish(&mut piece)?;
                    return Some(());
                }
                ';' | '&' | '|' | '(' | ')' if !double => self.finish(&mut piece)?,
                other => piece.push(other),
            }
        }
        if double || close.is_some() {
            return None;
        }
        self.finish(&mut piece)
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// The commands of `$(…)` or backticks; in the outer command a `$` stands for its output.
    fn nested(&mut self, close: char, piece: &mut String) -> Option<()> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        let mut inner = Cutter { rest: self.rest, depth: self.depth + 1, found: self.found };
        inner.run(Some(close))?;
        self.rest = inner.rest;
        piece.push_str("\\$");
        Some(())
    }

    /// `${NAME:-some words}` stays one word; quotes in it go.
    fn braced(&mut self, double: bool, piece: &mut String) -> Option<()> {
        let end = self.rest.find('}')?;
        piece.push('$');
        for c in self.rest[..=end].chars().filter(|c| !matches!(c, '\'' | '"' | '\\')) {
            if c.is_whitespace() && !double {
                piece.push('\\');
            }
            piece.push(c);
        }
        self.rest = &self.rest[end + 1..];
        Some(())
    }

    /// Reads the word after `<<`.
    fn announce(&mut self, piece: &str) -> Option<HereDoc> {
        let strip_tabs = self.rest.starts_with('-');
        let text = self.rest.trim_start_matches('-').trim_start_matches([' ', '\t']);
        let end = text.find([' ', '\t', '\n', ';', '|', '&', '>', ')']).unwrap_or(text.len());
        let word = text[..end].replace(['\'', '"', '\\'], "");
        self.rest = &text[end..];
        let reader = shlex::split(piece).and_then(|words| words.into_iter().next()).unwrap_or_default();
        Some(HereDoc { end: word, strip_tabs, script: super::words::is_shell(&reader) })
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
            let mut inner = Cutter { rest: &body, depth: self.depth + 1, found: self.found };
            inner.run(None)?;
        }
        Some(())
    }

    /// Ends a simple command: splits it into words and drops what a shell reads as syntax.
    fn finish(&mut self, piece: &mut String) -> Option<()> {
        let words = shlex::split(piece)?;
        piece.clear();
        let mut words = words.into_iter().peekable();
        while words.next_if(|word| is_syntax(word)).is_some() {}
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
        if !kept.is_empty() {
            if self.found.len() == MAX_COMMANDS {
                return None;
            }
            self.found.push(kept);
        }
        Some(())
    }
}

/// Words that introduce a command without being one.
fn is_syntax(word: &str) -> bool {
    matches!(
        word,
        "if" | "then" | "else" | "elif" | "fi" | "while" | "until" | "do" | "done" | "{" | "}" | "!" | "esac"
    )
}

#[cfg(test)]
mod tests {
    use super::commands;

    fn of(script: &str) -> Vec<String> {
        commands(script).expect("a readable script").into_iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn cuts_at_operators_outside_quotes() {
        assert_eq!(of("a 'b;c' && d \"e|f\" ; g\nh & i || j"), ["a b;c", "d e|f", "g", "h", "i", "j"]);
    }

    #[test]
    fn drops_comments_redirections_and_syntax() {
        assert_eq!(
            of("if true; then a 2>&1 >/dev/null; fi # prefect server start\nb#c"),
            ["true", "a", "b#c"]
        );
    }

    #[test]
    fn reads_substitutions_as_commands() {
        assert_eq!(of("a $(b c; d) \"`e f`\""), ["b c", "d", "e f", "a $ $"]);
    }

    #[test]
    fn skips_here_documents_unless_a_shell_reads_them() {
        assert_eq!(of("cat <<EOF > x\nprefect server start\nEOF\na"), ["cat", "a"]);
        assert_eq!(of("sh <<-'EOF'\n\tb c\n\tEOF\na"), ["sh", "b c", "a"]);
    }

    #[test]
    fn joins_continued_lines() {
        assert_eq!(of("a \\\n  b\n{ c; }"), ["a b", "c"]);
    }

    #[test]
    fn gives_up_on_what_does_not_close() {
        for script in ["a 'b", "a \"b", "a $(b", "a `b"] {
            assert_eq!(commands(script), None, "{script}");
        }
        assert_eq!(commands(&"$(".repeat(100_000)), None);
    }
}
