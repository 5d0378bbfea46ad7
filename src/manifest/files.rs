//! Finds the manifests a command line names: files, directories, globs and `-`.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What the command line means by `-`.
pub const STDIN: &str = "<stdin>";

/// The largest file that is read, in bytes. A rendered chart of a thousand objects has a tenth of it.
pub const LARGEST: u64 = 64 * 1024 * 1024;

/// One place to read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// As shown to people.
    pub name: String,
    /// The file; `None` for the standard input.
    pub path: Option<PathBuf>,
    /// Whether the command line names it itself, rather than a directory or glob it was found by.
    pub named: bool,
}

impl Input {
    /// Whether it can be read once only: the standard input, a pipe.
    pub fn is_pipe(&self) -> bool {
        self.path.as_deref().is_none_or(|path| !path.is_file())
    }

    /// Its text. The error says what to do and holds nothing of the text.
    pub fn read(&self) -> Result<String> {
        match &self.path {
            Some(path) => read(path, &self.name),
            None => {
                let text = read_all(std::io::stdin().lock(), &self.name)?;
                // The command before the pipe has failed more likely than that it meant nothing.
                if text.trim().is_empty() {
                    bail!("nothing came on the standard input; look at the command before the pipe");
                }
                Ok(text)
            }
        }
    }
}

/// The text of a file. What is no plain file may never end, or never begin; refused before it is opened.
///
/// # Errors
/// What is wrong with the file, and what to do; nothing of the text.
pub fn read(path: &Path, name: &str) -> Result<String> {
    let opening = || format!("cannot open `{name}`");
    let kind = std::fs::metadata(path).with_context(opening)?;
    if kind.is_dir() {
        bail!("`{name}` is a directory; name a file");
    }
    // `<(…)` and `/dev/stdin` are pipes that somebody has opened already.
    let is_open = ["/dev/fd/", "/dev/stdin", "/proc/self/fd/"].iter().any(|open| path.starts_with(open));
    if !kind.is_file() && !is_open {
        bail!("`{name}` is no plain file; name one, or `-` for the standard input");
    }
    read_all(std::fs::File::open(path).with_context(opening)?, name)
}

fn read_all(source: impl Read, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read `{name}`"))?;
    if bytes.len() as u64 > LARGEST {
        bail!("`{name}` is larger than {} MiB; split it", LARGEST / 1024 / 1024);
    }
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("`{name}` is not UTF-8 text; save it as UTF-8"))
}

/// The inputs that the arguments name, directories walked in the order of their names, each file once.
///
/// In a directory: files that end in `.yaml`, `.yml` or `.json`, but for what `.gitignore` leaves out and what is
/// hidden (`.git`, `.github`).
pub fn find(arguments: &[String]) -> Result<Vec<Input>> {
    let (inputs, mut missing) = find_each(arguments);
    if missing.is_empty() { Ok(inputs) } else { Err(missing.swap_remove(0).1) }
}

/// The same, with the arguments that name nothing beside it, each with the reason.
pub fn find_each(arguments: &[String]) -> (Vec<Input>, Vec<(String, anyhow::Error)>) {
    let mut inputs: Vec<Input> = Vec::new();
    let mut missing = Vec::new();
    for argument in arguments {
        let found = if argument == "-" {
            vec![Input { name: STDIN.to_owned(), path: None, named: true }]
        } else {
            look(argument).unwrap_or_else(|error| {
                missing.push((argument.clone(), error));
                Vec::new()
            })
        };
        for input in found {
            if !inputs.iter().any(|known| known.path == input.path && known.name == input.name) {
                inputs.push(input);
            }
        }
    }
    (inputs, missing)
}

fn look(argument: &str) -> Result<Vec<Input>> {
    let path = Path::new(argument);
    if path.is_dir() {
        return Ok(walk(path, is_manifest));
    }
    // What a pipe or `<(…)` names exists too, without being a plain file.
    if path.exists() {
        return Ok(vec![Input { name: argument.to_owned(), path: Some(path.to_owned()), named: true }]);
    }
    if argument.contains(['*', '?', '[', '{']) {
        let found = glob(argument)?;
        if found.is_empty() {
            bail!("no file matches `{argument}`");
        }
        return Ok(found);
    }
    bail!("there is no file or directory `{argument}`")
}

fn glob(pattern: &str) -> Result<Vec<Input>> {
    let matcher = globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .with_context(|| format!("`{pattern}` is not a glob"))?
        .compile_matcher();
    let fixed: PathBuf = Path::new(pattern)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']))
        .collect();
    let base = if fixed.as_os_str().is_empty() { Path::new(".") } else { fixed.as_path() };
    Ok(walk(base, |path| matcher.is_match(path.strip_prefix("./").unwrap_or(path))))
}

fn walk(base: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<Input> {
    let entries = ignore::WalkBuilder::new(base).require_git(false).sort_by_file_name(OsStr::cmp).build();
    entries
        // A directory that cannot be entered is no manifest; what is named on the command line fails in `read`.
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file() || kind.is_symlink()))
        .map(ignore::DirEntry::into_path)
        .filter(|path| wanted(path) && path.is_file())
        .map(|path| {
            let shown = path.strip_prefix("./").unwrap_or(&path).display().to_string();
            Input { name: shown, path: Some(path), named: false }
        })
        .collect()
}

fn is_manifest(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    matches!(ending.as_deref(), Some("yaml" | "yml" | "json"))
}
