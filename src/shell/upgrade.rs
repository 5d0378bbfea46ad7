//! Whether `prefect server database upgrade` migrates, by its options.
//!
//! Source: `upgrade` in `prefect/cli/server.py` of 2.20 to 3.9. It takes `-y`/`--yes`, `-r`/`--revision` and
//! `--dry-run`; without `-y` it asks on a terminal, and a container has none.

use crate::shell::command::Failure;
use crate::shell::word::Word;

/// What an upgrade comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// It brings the schema up to date.
    Migrates,
    /// It ends well and does not: `--dry-run`, `--help`, another revision.
    StopsShort,
    /// It cannot work.
    Fails(Failure),
}

/// Reads the words behind `upgrade`. `answered`: something is piped into it, which may be the answer.
pub(super) fn read(words: &[Word], answered: bool) -> Upgrade {
    let mut confirmed = answered;
    let mut short = false;
    let mut at = 0;
    while let Some(word) = words.get(at) {
        at += 1;
        let Some(text) = word.known() else {
            // It may be any option, or several.
            confirmed = true;
            continue;
        };
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        match name {
            "--help" | "-h" => return Upgrade::StopsShort,
            "--yes" | "-y" => confirmed |= value.is_none_or(is_true),
            "--no-yes" => {}
            "--dry-run" => short |= value.is_none_or(is_true),
            "--no-dry-run" => {}
            "--revision" | "-r" => {
                let revision = match value {
                    Some(value) => Some(value),
                    None => {
                        at += 1;
                        words.get(at - 1).map(|word| word.known().unwrap_or_default())
                    }
                };
                let Some(revision) = revision else {
                    return Upgrade::Fails(Failure::UnknownOption(clipped(text)));
                };
                short |= stops_short(revision);
            }
            "--profile" | "-p" => at += usize::from(value.is_none()),
            "--prompt" | "--no-prompt" => {}
            _ if name.starts_with("--") => return Upgrade::Fails(Failure::UnknownOption(clipped(name))),
            _ if name.starts_with('-') && name.len() > 1 => match letters(&text[1..]) {
                Some(letters) => {
                    confirmed |= letters.confirms;
                    let revision = letters.revision.map(|revision| match revision {
                        "" => {
                            at += 1;
                            words.get(at - 1).and_then(Word::known).unwrap_or_default()
                        }
                        revision => revision,
                    });
                    short |= revision.is_some_and(stops_short);
                }
                None => return Upgrade::Fails(Failure::UnknownOption(clipped(name))),
            },
            _ => return Upgrade::Fails(Failure::UnexpectedWord(clipped(text))),
        }
    }
    match (confirmed, short) {
        // A dry run asks as well.
        (false, _) => Upgrade::Fails(Failure::Unconfirmed),
        (true, true) => Upgrade::StopsShort,
        (true, false) => Upgrade::Migrates,
    }
}

/// Short options in one word: `-yrhead`.
struct Letters<'t> {
    confirms: bool,
    /// The value of `-r`; empty where it is the next word.
    revision: Option<&'t str>,
}

fn letters(text: &str) -> Option<Letters<'_>> {
    let confirms = text.starts_with('y');
    let rest = text.trim_start_matches('y');
    match rest.strip_prefix('r') {
        Some(revision) => Some(Letters { confirms, revision: Some(revision.trim_start_matches('=')) }),
        None if rest.is_empty() => Some(Letters { confirms, revision: None }),
        None => None,
    }
}

fn is_true(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0" | "no" | "n" | "off")
}

fn stops_short(revision: &str) -> bool {
    !matches!(revision, "head" | "heads")
}

/// An option or a word as it can be shown; what stands behind its `=` is left out.
fn clipped(text: &str) -> String {
    crate::text::clip(text.split('=').next().unwrap_or_default(), 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Upgrade {
        let word = |text: &str| if text == "?" { Word::unknown() } else { Word::from(text) };
        read(&line.split_whitespace().map(word).collect::<Vec<_>>(), false)
    }

    #[test]
    fn migrates_only_when_it_asks_nobody_and_goes_all_the_way() {
        for line in
            ["-y", "--yes", "-y -r head", "-yr head", "-y --revision=heads", "?", "-r head ? ", "-yrhead"]
        {
            assert_eq!(of(line), Upgrade::Migrates, "{line}");
        }
        for line in ["-y --dry-run", "--help", "-y -r 3", "-y --revision=base", "-y -rbase", "-y -r=base"] {
            assert_eq!(of(line), Upgrade::StopsShort, "{line}");
        }
        for line in ["", "-r head", "--dry-run", "--yes=false", "--no-yes"] {
            assert_eq!(of(line), Upgrade::Fails(Failure::Unconfirmed), "{line}");
        }
        for (line, option) in
            [("-y --check", "--check"), ("-f", "-f"), ("-y --force=1", "--force"), ("-y -r", "-r")]
        {
            assert_eq!(of(line), Upgrade::Fails(Failure::UnknownOption(option.to_owned())), "{line}");
        }
        assert_eq!(of("-y head"), Upgrade::Fails(Failure::UnexpectedWord("head".to_owned())));
        assert_eq!(read(&[], true), Upgrade::Migrates);
    }
}
