//! The lock for a Job whose upgrade stands in a shell script, as the official chart's does.
//!
//! The call in the script becomes `"$@"`, and the call under the lock the script's arguments.

use std::borrow::Cow;

use super::call::{CommandLine, is_official, lockable, python_beside, split};
use super::preparation::names_arguments;
use super::script::{SCRIPT, Wish};
use crate::kubernetes::Container;
use crate::server::Server;
use crate::server::commands::without_lock;
use crate::shell::command::Call;

/// What stands in the place of the call.
const ARGUMENTS: &str = r#""$@""#;

/// How the call goes on behind Prefect's name.
const UPGRADES: [&str; 2] = [" server database upgrade -y", " server database upgrade --yes"];

/// The script of a Job with its upgrade under the lock; `None` where it is left alone.
pub(super) fn lock<'a>(job: &Server<'a>, wish: &Wish<'_>) -> Option<CommandLine<'a>> {
    let call = lockable(job, wish)?;
    let place = call.script.as_ref()?;
    let argv: Vec<&'a str> = job.container.argv().collect();
    let before = place.before.as_deref()?;
    let text = *argv.get(place.script).filter(|_| argv.len() == place.script + 1)?;
    // Where the kubelet puts something in, the text that was read is not the text that was written.
    if !text.starts_with(before) || uses_arguments(text) {
        return None;
    }
    let words: Vec<&str> = call.words.iter().map(|word| word.known()).collect::<Option<_>>()?;
    let python = python(job, call, &words)?;
    let start = before.len() + if text[before.len()..].starts_with("exec ") { "exec ".len() } else { 0 };
    let (written, rest) = UPGRADES.iter().find_map(|upgrade| {
        let written = format!("{}{upgrade}", words.join(" "));
        let rest = text[start..].strip_prefix(&written)?;
        is_end(rest).then_some((written, rest))
    })?;
    let script = Cow::Owned(format!("{}{ARGUMENTS}{rest}", &text[..start]));
    let mut line: Vec<Cow<'a, str>> = argv[..place.script].iter().map(|word| Cow::Borrowed(*word)).collect();
    line.extend([
        script,
        Cow::Borrowed(argv[place.shell]),
        python,
        Cow::Borrowed("-c"),
        Cow::Borrowed(SCRIPT),
    ]);
    line.extend(wish.lock_options());
    line.extend(written.split(' ').map(|word| Cow::Owned(word.to_owned())));
    let at = if job.container.args.is_empty() { line.len() } else { job.container.command.len() };
    let (command, args) = split(line, at);
    Some(CommandLine { command, args, locked: true })
}

/// The argv that [`lock`] made this container's of.
pub(super) fn without(container: &Container<'_>) -> Option<Vec<String>> {
    let line = without_lock(container)?;
    let script = line.iter().rposition(|word| word.contains(ARGUMENTS))?;
    let call = line.get(script + 2..)?.join(" ");
    let mut argv: Vec<String> = line[..=script].iter().map(|word| (*word).to_owned()).collect();
    argv[script] = argv[script].replacen(ARGUMENTS, &call, 1);
    Some(argv)
}

/// The Python that runs the Prefect of these words.
fn python<'a>(job: &Server<'_>, call: &Call, words: &[&str]) -> Option<Cow<'a, str>> {
    let (program, found) = match *words {
        ["prefect"] => ("prefect", is_official(&job.container.image).then_some(Cow::Borrowed("python"))),
        [program] => (program, python_beside(program)),
        [program, "-m", "prefect"] => (program, Some(Cow::Owned(program.to_owned()))),
        _ => return None,
    };
    let place = call.whereabouts;
    let elsewhere = place.in_runner
        || place.path_changed
        || place.moved && program.contains('/') && !program.starts_with('/');
    found.filter(|_| !elsewhere)
}

/// Whether the command ends here.
fn is_end(rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', '\t']);
    rest.is_empty() || ["\n", ";", "&&", "||"].iter().any(|end| rest.starts_with(end))
}

/// Whether the script asks for its arguments, or may change them.
fn uses_arguments(text: &str) -> bool {
    let lines = text.split(['\n', ';', '&', '|', '(', ')', '{', '}', '`']);
    let changes = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = |index: usize| words.get(index).copied().unwrap_or_default();
        (0..words.len()).any(|index| match words[index] {
            "shift" | "getopts" | "eval" => true,
            "for" => at(index + 2) != "in",
            "set" => sets_arguments(&words[index + 1..]),
            _ => false,
        })
    };
    names_arguments(text) || lines.into_iter().any(changes)
}

/// `set -eo pipefail` sets options alone.
fn sets_arguments(words: &[&str]) -> bool {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix(['-', '+']) {
            None | Some("" | "-") => return true,
            Some(options) if options.ends_with('o') => _ = words.next(),
            Some(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{is_end, uses_arguments};

    #[test]
    fn knows_scripts_that_use_their_arguments() {
        for text in [
            "echo $1",
            "echo ${10}",
            "f \"$@\"",
            "n=$#",
            "shift; x",
            "set -- a",
            "set a",
            "set -e a",
            "for x; do",
        ] {
            assert!(uses_arguments(text), "{text}");
        }
        for text in [
            "set -eo pipefail\necho \"$HOME\"",
            "set -euo pipefail; set +x",
            "for x in a b; do y; done",
            "offset",
        ] {
            assert!(!uses_arguments(text), "{text}");
        }
    }

    #[test]
    fn knows_where_a_command_ends() {
        assert!(["", "\n", " ; x", " && echo", "|| exit 3"].iter().all(|rest| is_end(rest)));
        assert!([" --dry-run", "x", " | tee log", " > log", " &"].iter().all(|rest| !is_end(rest)));
    }
}
