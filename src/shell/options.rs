//! The words of a program before those that it runs: options, their values, and where they end.

use crate::shell::word::Word;
use crate::text::basename;

/// How many leading words are options, those named in `takes_value` with their value; a closing `--` counts too.
pub(super) fn options(words: &[Word], takes_value: &[&str]) -> usize {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word.is("--") {
            return at + 1;
        }
        if !word.is_option() {
            break;
        }
        at += 1 + usize::from(wants_value(word.lead(), takes_value));
    }
    at.min(words.len())
}

/// Whether the value of an option is the next word: `--user`, `-u`, and `-Eu`, but not `-uroot`.
fn wants_value(option: &str, takes_value: &[&str]) -> bool {
    if option.starts_with("--") || takes_value.contains(&option) {
        return takes_value.contains(&option);
    }
    let takes = |letter: char| {
        takes_value
            .iter()
            .any(|known| known.strip_prefix('-').is_some_and(|known| known.chars().eq([letter])))
    };
    let mut letters = option.chars().skip(1);
    letters.find(|letter| takes(*letter)).is_some() && letters.next().is_none()
}

/// Whether one of the `wanted` options (`-E`, `--preserve-env`) is among `options`; the empty one always is.
pub(super) fn has_option(options: &[Word], wanted: &[&str]) -> bool {
    let given = |wanted: &str| {
        options.iter().map(Word::lead).any(|option| match wanted.strip_prefix('-') {
            Some(letter) if letter.len() == 1 => {
                option.starts_with('-') && !option.starts_with("--") && option.contains(letter)
            }
            _ => option == wanted,
        })
    };
    wanted.iter().any(|wanted| wanted.is_empty() || given(wanted))
}

/// How many words belong to `uv run …`, `conda run …` before the program.
pub(super) fn runner(words: &[Word]) -> usize {
    // Options of the runners that take a value in the next word; anything else that starts with `-` stands alone.
    const TAKES_VALUE: &[&str] = &[
        "--project",
        "--directory",
        "--python",
        "-p",
        "--with",
        "--extra",
        "--group",
        "--env-file",
        "--package",
        "--index-url",
        "--cache-dir",
        "--config-file",
        "-n",
        "--name",
        "--environment",
        "--prefix",
        "-e",
        "--cwd",
        "-C",
        "-P",
        "--with-requirements",
        "--with-editable",
        "--only-group",
        "--no-group",
        "-m-env",
        "--manifest-path",
    ];
    let run = words.iter().position(|word| word.is("run")).map_or(0, |at| at + 1);
    run + options(&words[run..], TAKES_VALUE)
}

/// What a Python interpreter is to run.
pub(super) struct Python<'t> {
    /// The module, or the script's file name without its folder.
    pub runs: &'t str,
    /// Index of the word after it.
    pub next: usize,
}

/// Reads the arguments of `python`: `-m MODULE`, `-mMODULE`, `-Im MODULE`, or a script. `None` for `-c CODE`.
pub(super) fn python(words: &[Word]) -> Option<Python<'_>> {
    let mut at = 0;
    loop {
        let word = words.get(at)?;
        let Some(flags) = word.lead().strip_prefix('-').filter(|flags| !flags.is_empty()) else {
            return Some(Python { runs: word.name_lead(), next: at + 1 });
        };
        at += 1 + usize::from(word.is("--check-hash-based-pycs"));
        let Some(flag) = flags.find(['c', 'm', 'X', 'W']).filter(|_| !flags.starts_with('-')) else {
            continue;
        };
        let attached = &flags[flag + 1..];
        match (flags.as_bytes()[flag], attached) {
            (b'c', _) => return None,
            (b'm', "") => return Some(Python { runs: words.get(at)?.lead(), next: at + 1 }),
            (b'm', module) => return Some(Python { runs: module, next: at }),
            (_, "") => at += 1,
            _ => {}
        }
    }
}

/// Whether a word calls Prefect's command: `prefect`, `/venv/bin/prefect`, and `prefect@3.8.8`, `prefect[redis]`,
/// `dev:prefect` for tools that fetch it or look it up.
pub(super) fn is_prefect(word: &Word) -> bool {
    word.name() == Some("prefect") || is_packaged_prefect(word)
}

/// The forms that only such tools understand.
pub(super) fn is_packaged_prefect(word: &Word) -> bool {
    let whole = word.name_lead();
    let name = whole.rsplit(':').next().unwrap_or(whole);
    if !name.starts_with("prefect") || word.name() == Some("prefect") {
        return false;
    }
    let end = name.find(['@', '=', '[', '<', '>', '~', '!']);
    if end.is_none() && word.name().is_none() {
        // The name itself goes on with something that cannot be read.
        return false;
    }
    let bare = &name[..end.unwrap_or(name.len())];
    bare.strip_suffix(".exe").unwrap_or(bare) == "prefect"
}

/// Whether the arguments of an ASGI server name Prefect's application.
pub(super) fn serves_prefect(words: &[Word]) -> bool {
    words.iter().any(|word| {
        let name = word.lead().split('(').next().unwrap_or_default();
        let app = name.rsplit('=').next().unwrap_or_default();
        let app = app.strip_prefix("asgi:").unwrap_or(app);
        matches!(app, "prefect.server.api.server:create_app" | "prefect.orion.api.server:create_app")
    })
}

/// Whether a name is that of an image's script that runs its arguments.
pub(super) fn is_entrypoint(name: &str) -> bool {
    basename(name).ends_with("entrypoint.sh")
}
