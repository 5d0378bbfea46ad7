//! How scripts are cut into commands.

use super::*;

/// The commands; `(` and `)` around those of a subshell, `f{` before a function's.
fn of(script: &str) -> Vec<String> {
    let shown = |item: &Item| match item {
        Item::Command(command) => command.words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Item::Open(_) => "(".to_owned(),
        Item::Close => ")".to_owned(),
        Item::Function { name, .. } => format!("{name}{{"),
        Item::Branch(branch) => format!("{branch:?}").to_lowercase(),
    };
    items(script).expect("a readable script").iter().map(shown).collect()
}

#[test]
fn cuts_at_operators_outside_quotes() {
    assert_eq!(of("a 'b;c' && d \"e|f\" ; g\nh & i || j"), ["a b;c", "d e|f", "g", "h", "i", "j"]);
    let items = items("a && b || c | d & e").expect("a readable script");
    let operators: Vec<Operator> = items
        .iter()
        .map(|item| match item {
            Item::Command(command) => command.before,
            _ => panic!("only commands"),
        })
        .collect();
    use Operator::*;
    assert_eq!(operators, [Sequence, And, Or, Pipe, Background]);
}

#[test]
fn drops_comments_redirections_and_syntax() {
    let script = "if true; then a 2>&1 >/dev/null; fi # prefect server start\nb#c";
    assert_eq!(of(script), ["if", "true", "then", "a", "end", "b#c"]);
    assert_eq!(
        of("while a; do b; done <x; for c in d; do e; done"),
        ["while", "a", "b", "done", "for c in d", "for", "e", "done"]
    );
}

#[test]
fn reads_substitutions_as_commands() {
    assert_eq!(of("a $(b c; d)"), ["(", "b c", "d", ")", "a ?"]);
    assert_eq!(of("a \"`e f`\""), ["(", "e f", ")", "a ?"]);
    assert_eq!(of("$(which a) `echo b c`"), ["(", "which a", ")", "(", "echo b c", ")", "a b c"]);
}

#[test]
fn keeps_references_apart_from_text() {
    let words = words("$a \"$b\" '$c' \\$d ${e:-f g}").expect("readable words");
    let quoted = |word: &Word| match word.pieces() {
        [Piece::Variable(variable)] => Some(variable.quoted),
        [Piece::Text(_)] => None,
        _ => panic!("one piece"),
    };
    assert_eq!(
        words.iter().map(quoted).collect::<Vec<_>>(),
        [Some(false), Some(true), None, None, Some(false)]
    );
    assert!(words[2].is("$c") && words[3].is("$d"));
}

#[test]
fn cuts_at_patterns() {
    let items = items("case $1 in a|b) c;; (d) e\n;; *) f; esac; g").expect("a readable script");
    let shown = |item: &Item| match item {
        Item::Command(command) => command.words[0].to_string(),
        Item::Branch(Branch::Case(word)) => format!("case {word}"),
        Item::Branch(Branch::Patterns(words)) => {
            words.iter().map(ToString::to_string).collect::<Vec<_>>().join("|") + ")"
        }
        Item::Branch(Branch::End) => "esac".to_owned(),
        other => panic!("{other:?}"),
    };
    let shown: Vec<String> = items.iter().map(shown).collect();
    assert_eq!(shown, ["case $1", "a|b)", "c", "d)", "e", "*)", "f", "esac", "g"]);
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
fn knows_functions_and_subshells() {
    assert_eq!(of("f() { a; b; }; f c"), ["f{", "a", "b", "f c"]);
    assert_eq!(of("function f { a; }\n(b; c) && d"), ["f{", "a", "(", "b", "c", ")", "d"]);
    assert_eq!(of("f()\n{\na\n}\nb"), ["f{", "a", "b"]);
    let found = items("f() { a; { b; }; }; f c").expect("a readable script");
    assert!(matches!(found[0], Item::Function { end: 3, .. }), "{found:?}");
}

#[test]
fn gives_up_on_what_does_not_close() {
    for script in ["a 'b", "a \"b", "a $(b", "a `b", "${a"] {
        assert_eq!(items(script), None, "{script}");
    }
    assert_eq!(items(&"$(".repeat(100_000)), None);
}

#[test]
fn a_line_of_here_documents_is_read_once() {
    // Each of them had the line before it split into words: seconds of work.
    let script = format!("cat {}", "<<A ".repeat(300_000));
    assert_eq!(of(&script), ["cat"]);
}
