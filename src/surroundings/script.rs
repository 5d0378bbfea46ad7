//! A script that a ConfigMap of the stream mounts, put in the place of its call.

use serde_json::{Map as Fields, Value};

use crate::shell::programs;
use crate::text::basename;

/// The text of a volume's file by its key, and who says so.
pub(super) type Files<'f, 's> = dyn Fn(&Value, &str) -> Option<(String, &'s str)> + 'f;

/// The command line of a container with its script written out, and who holds the script. `read` gives the text of a
/// volume's file by its key.
pub(super) fn put_in<'s>(
    container: &Fields<String, Value>,
    volumes: &Value,
    read: &Files<'_, 's>,
) -> Option<(Vec<String>, &'s str)> {
    let list = |key: &str| container.get(key).and_then(Value::as_array).into_iter().flatten();
    let argv: Vec<&str> = list("command").chain(list("args")).filter_map(Value::as_str).collect();
    argv.iter().enumerate().find_map(|(at, word)| {
        let path = path_of(word);
        let (text, said_by) = read_mounted(container, volumes, path, read)?;
        let (before, after) = (&argv[..at], &argv[at + 1..]);
        let call = call(before, path == *word, &text)?;
        // Kubernetes expands nothing in a mounted file.
        let text = text.replace('$', "$$");
        let words = call
            .into_iter()
            .chain([text, path.to_owned()])
            .chain(after.iter().map(|word| (*word).to_owned()));
        Some((words.collect(), said_by))
    })
}

/// The path that a word names: the word itself, or all that the text of `sh -c` calls.
fn path_of(word: &str) -> &str {
    let mut rest = word.trim();
    while let Some((first, more)) = rest.split_once(char::is_whitespace) {
        if !matches!(first, "exec" | "." | "source") && !programs::is_shell(basename(first)) {
            return word;
        }
        rest = more.trim_start();
    }
    rest
}

/// The words up to the script's text: `sh -c`, with what stood before.
fn call(before: &[&str], is_path: bool, text: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
    if !is_path {
        return is_command_option(words.last()?).then_some(words);
    }
    let shell = before.iter().rposition(|word| !word.starts_with('-'));
    let is_shells = shell.is_some_and(|at| programs::is_shell(basename(before[at])));
    match (is_shells, before.last()) {
        // `sh -c /scripts/start.sh`
        (true, Some(last)) if is_command_option(last) => Some(words),
        (true, _) => {
            words.push("-c".to_owned());
            Some(words)
        }
        // Behind another program it is a file that is read, or worse.
        (false, _) if before.first().is_some_and(|first| !programs::runs_what_follows(basename(first))) => {
            None
        }
        (false, _) => {
            words.extend([interpreter(text)?, "-c".to_owned()]);
            Some(words)
        }
    }
}

/// `-c`, `-ec`, `-lc`.
fn is_command_option(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--") && word.ends_with('c')
}

/// The shell that the first line asks for; `None` where it is no shell.
fn interpreter(text: &str) -> Option<String> {
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else {
        return Some("sh".to_owned());
    };
    let mut words = line.split_whitespace().map(basename);
    words.find(|word| programs::is_shell(word)).map(str::to_owned)
}

/// The text of the file that a container finds at `path`.
fn read_mounted<'s>(
    container: &Fields<String, Value>,
    volumes: &Value,
    path: &str,
    read: &Files<'_, 's>,
) -> Option<(String, &'s str)> {
    if !path.starts_with('/') {
        return None;
    }
    let mounts = container.get("volumeMounts").and_then(Value::as_array)?;
    mounts.iter().find_map(|mount| {
        let text = |key: &str| mount.get(key).and_then(Value::as_str);
        let at = text("mountPath")?.trim_end_matches('/');
        let below = path.strip_prefix(at)?;
        let file = match (text("subPath"), below.strip_prefix('/')) {
            (Some(sub), None) if below.is_empty() => sub,
            (None, Some(file)) => file,
            _ => return None,
        };
        let volume = volumes.as_array()?.iter().find(|volume| volume["name"].as_str() == text("name"))?;
        let items = volume.pointer("/configMap/items").and_then(Value::as_array);
        let key = match items {
            Some(items) => items.iter().find(|item| item["path"].as_str() == Some(file))?["key"].as_str()?,
            None => file,
        };
        read(volume, key)
    })
}
