//! The order of the layers, read from the sources: a file imports from its own layer or from lower ones, and no circle
//! of files exists anywhere.
//!
//! [`imports`] works on any map of files, so that it can be fed two files that import each other. A re-export is
//! followed to the file that defines the name. Code under `#[cfg(test)]` may look anywhere.

use std::collections::{BTreeMap, BTreeSet};

/// The layers, lowest first. Each is a file or a folder of `src`.
const LAYERS: &[&str] = &[
    "text",
    "rule",
    "json",
    "kubernetes",
    "shell",
    "environment",
    "surroundings",
    "prefect",
    "server",
    "policy",
    "migration",
    "subject",
    "rules",
    "review",
    "decision",
    "answer",
    // The shell around the pure part.
    "manifest",
    "telemetry",
    "tls",
    "cluster",
    "serve",
    "cli",
    // The roots.
    "core",
    "lib",
    "main",
];

/// How many of these are roots: packages and the program, no rooms.
const ROOTS: usize = 3;

/// Sources by their path below `src`.
type Files = BTreeMap<String, String>;

/// Files and the files they import from.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// A path of identifiers: `crate::rules::Subject`.
type Path = Vec<String>;

#[test]
fn no_file_imports_upwards_and_no_circle_exists() {
    let imports = imports(&sources());
    let mut broken = upward(&imports);
    broken.extend(circles(&imports).iter().map(|circle| format!("a circle: {}", circle.join(" -> "))));
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_file_has_a_layer() {
    for file in sources().keys() {
        assert!(layer(file).is_some(), "`{file}` is in no layer of `LAYERS`");
    }
}

#[test]
fn two_files_that_import_each_other_are_found() {
    let files = fixture(&[
        ("shell/mod.rs", "mod a;\nmod b;\n"),
        ("shell/a.rs", "use super::b::Two;\npub struct One(Two);\n"),
        ("shell/b.rs", "pub enum Two { None, Some(Box<crate::shell::a::One>) }\n"),
    ]);
    assert_eq!(circles(&imports(&files)), [["shell/a.rs", "shell/b.rs"]]);
}

#[test]
fn a_circle_through_a_re_export_is_found() {
    let files = fixture(&[
        ("shell/mod.rs", "mod a;\nmod b;\npub use b::Two;\n"),
        ("shell/a.rs", "use crate::shell;\npub struct One(shell::Two);\n"),
        ("shell/b.rs", "use super::a::*;\npub struct Two(Option<Box<One>>);\n"),
    ]);
    assert_eq!(circles(&imports(&files)), [["shell/a.rs", "shell/b.rs"]]);
}

#[test]
fn a_child_that_uses_what_its_parent_defines_and_the_reverse_is_a_circle() {
    let files = fixture(&[
        ("tls/mod.rs", "mod child;\npub fn provider() -> u8 { child::made() }\n"),
        ("tls/child.rs", "pub fn made() -> u8 { super::provider() }\n"),
    ]);
    assert_eq!(circles(&imports(&files)), [["tls/child.rs", "tls/mod.rs"]]);
}

#[test]
fn an_upward_import_is_found() {
    let files = fixture(&[
        ("rule.rs", "use crate::{text::clip, migration::{self as plan, Blocker}};\n"),
        ("text.rs", "pub fn clip() {}\n"),
        ("migration/mod.rs", "pub mod blocker;\npub use blocker::Blocker;\n"),
        ("migration/blocker.rs", "use crate::rule::Rule;\npub struct Blocker;\n"),
    ]);
    assert_eq!(upward(&imports(&files)), ["rule.rs imports migration/blocker.rs, which is above it"]);
}

#[test]
fn comments_strings_and_tests_import_nothing() {
    let files = fixture(&[
        (
            "text.rs",
            "// use crate::rule;\n/* crate::rule::Rule */ const A: &str = r#\"crate::rule::Rule\"#;\n\
             const B: (char, &str) = ('\"', \"\\\"crate::rule::Rule\");\nfn c<'a>(_: &'a str) {}\n\
             #[cfg(test)]\nmod tests { use crate::rule::Rule; fn f() { if true {} } }\n",
        ),
        ("rule.rs", "pub struct Rule;\n"),
    ]);
    assert!(imports(&files).values().all(BTreeSet::is_empty));
}

/// The page has a row for each layer, in their order, and the diagram of which uses which is made from the sources.
#[test]
fn the_architecture_page_shows_the_layers_as_they_are() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<&str> =
        rows.map(|name| name.trim_end_matches('/')).filter(|name| LAYERS.contains(name)).collect();
    assert_eq!(rows, LAYERS[..LAYERS.len() - ROOTS], "the table of the layers, without the roots");
    const BEGIN: &str = "```mermaid\nflowchart BT\n";
    let (before, rest) = page.split_once(BEGIN).expect("the diagram of the layers");
    let (found, after) = rest.split_once("```").expect("its end");
    let wanted = diagram(&imports(&sources()));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}```{after}")).unwrap();
    } else {
        assert!(found == wanted, "stale: `UPDATE_DOCS=1 cargo test --test it layers::` draws it anew");
    }
}

/// Which room uses which, as lines of a Mermaid flowchart. What follows from other arrows is left out.
fn diagram(imports: &Imports) -> String {
    let mut uses: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, targets) in imports {
        let Some(from) = layer(from).filter(|from| *from < LAYERS.len() - ROOTS) else { continue };
        let below = targets.iter().filter_map(|to| layer(to)).filter(|to| *to < from);
        uses.entry(from).or_default().extend(below);
    }
    let mut below: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut text = String::new();
    for (from, targets) in uses {
        let indirect: BTreeSet<usize> =
            targets.iter().filter_map(|to| below.get(to)).flatten().copied().collect();
        for to in targets.difference(&indirect) {
            text.push_str(&format!("    {} --> {}\n", LAYERS[from], LAYERS[*to]));
        }
        below.insert(from, targets.union(&indirect).copied().collect());
    }
    text
}

fn fixture(files: &[(&str, &str)]) -> Files {
    files.iter().map(|(path, source)| ((*path).to_owned(), (*source).to_owned())).collect()
}

/// The sources of the library. Files of tests are declared under `#[cfg(test)]`.
fn sources() -> Files {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Files::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files.retain(|name, _| !name.ends_with("tests.rs"));
    files
}

fn layer(file: &str) -> Option<usize> {
    LAYERS.iter().position(|name| *name == room(file))
}

/// The folder, or the name of a file that is a room by itself.
pub(crate) fn room(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Imports that lead to a higher layer.
fn upward(imports: &Imports) -> Vec<String> {
    let mut found = Vec::new();
    for (from, targets) in imports {
        for to in targets.iter().filter(|to| layer(to) > layer(from)) {
            found.push(format!("{from} imports {to}, which is above it"));
        }
    }
    found
}

/// Groups of files each of which reaches each other one.
fn circles(imports: &Imports) -> Vec<Vec<&str>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        imports.keys().map(|file| (file.as_str(), reachable(file, imports))).collect();
    let mut found: Vec<Vec<&str>> = Vec::new();
    for (file, reached) in &reach {
        if !reached.contains(file) || found.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        found.push(reached.iter().copied().filter(|other| reach[other].contains(file)).collect());
    }
    found
}

fn reachable<'i>(from: &str, imports: &'i Imports) -> BTreeSet<&'i str> {
    let mut found = BTreeSet::new();
    let mut ahead: Vec<&str> = imports.get(from).into_iter().flatten().map(String::as_str).collect();
    while let Some(file) = ahead.pop() {
        if found.insert(file) {
            ahead.extend(imports.get(file).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

/// Which file imports from which.
fn imports(files: &Files) -> Imports {
    let modules: BTreeMap<Path, Module> =
        files.iter().map(|(path, source)| (module_path(path), Module::read(path, source))).collect();
    let mut found = Imports::new();
    for (at, module) in &modules {
        let targets = module.paths.iter().filter_map(|path| resolve(&modules, at, path, 0));
        let targets = targets.filter(|target| *target != module.file).map(str::to_owned).collect();
        found.insert(module.file.clone(), targets);
    }
    found
}

/// `rules/mod.rs` is `rules`, `rules/catalogue.rs` is `rules::catalogue`; `lib.rs` and `core.rs` are
/// the root.
fn module_path(file: &str) -> Path {
    let mut path: Path = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "core")) {
        path.pop();
    }
    path
}

/// What a file names.
struct Module {
    file: String,
    /// What its `use` declarations bring in, by the name it has here.
    names: BTreeMap<String, Path>,
    /// Every path that is imported or written out.
    paths: Vec<Path>,
}

impl Module {
    fn read(file: &str, source: &str) -> Self {
        let tokens = tokens(&without_tests(&plain(source)));
        let mut module = Module { file: file.to_owned(), names: BTreeMap::new(), paths: Vec::new() };
        let mut at = 0;
        while at < tokens.len() {
            // `impl Trait + use<'a>` declares nothing.
            if tokens[at] == "use" && tokens.get(at + 1).is_some_and(|next| next != "<") {
                at = module.read_use(&tokens, at + 1, &[]);
                continue;
            }
            let mut path = Path::new();
            while is_name(&tokens[at]) {
                path.push(tokens[at].clone());
                if tokens.get(at + 1).is_none_or(|next| next != "::")
                    || tokens.get(at + 2).is_none_or(|next| !is_name(next))
                {
                    break;
                }
                at += 2;
            }
            if path.len() > 1 {
                module.paths.push(path);
            }
            at += 1;
        }
        module
    }

    /// Reads one tree of a `use` declaration; gives the position behind it.
    fn read_use(&mut self, tokens: &[String], mut at: usize, before: &[String]) -> usize {
        let mut path = before.to_vec();
        while at < tokens.len() {
            match tokens[at].as_str() {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while tokens[at] != "}" {
                        at = self.read_use(tokens, at, &path);
                        at += usize::from(tokens[at] == ",");
                    }
                    return at + 1;
                }
                "as" => {
                    self.name(tokens[at + 1].clone(), path);
                    return at + 2;
                }
                "," | "}" | ";" => break,
                word => {
                    path.push(word.to_owned());
                    at += 1;
                }
            }
        }
        if let Some(name) = path.last().cloned() {
            self.name(name, path);
        }
        at
    }

    fn name(&mut self, name: String, mut path: Path) {
        let mut name = name;
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
            if name == "self" {
                name = path.last().cloned().unwrap_or_default();
            }
        }
        if path.len() > 1 || path[0] != name {
            self.names.insert(name, path.clone());
        }
        self.paths.push(path);
    }
}

/// The file that defines what `path` names in the module `at`; `None` for what is not ours, and for a module as such.
fn resolve<'m>(
    modules: &'m BTreeMap<Path, Module>,
    at: &Path,
    path: &[String],
    depth: usize,
) -> Option<&'m str> {
    assert!(depth < 32, "`{}` in {at:?} leads in a circle of re-exports", path.join("::"));
    let mut module = at.clone();
    let mut rest = path;
    let mut anchored = false;
    while let Some(first) = rest.first() {
        match first.as_str() {
            "crate" => module = Path::new(),
            "self" => {}
            "super" => {
                module.pop();
            }
            _ => break,
        }
        anchored = true;
        rest = &rest[1..];
    }
    loop {
        let first = rest.first()?;
        let mut child = module.clone();
        child.push(first.clone());
        let known = modules.get(&module);
        if modules.contains_key(&child) {
            module = child;
            rest = &rest[1..];
        } else if let Some(named) = known.and_then(|known| known.names.get(first)) {
            // `use anyhow::anyhow`: the crate, whatever it is that has its name.
            if named[0] == *first {
                return None;
            }
            let path: Path = named.iter().chain(&rest[1..]).cloned().collect();
            return resolve(modules, &module, &path, depth + 1);
        } else {
            // Relative paths begin with a name that is in scope: another one is a crate's, or this file's own.
            let is_ours = anchored || module != *at;
            return known.filter(|_| is_ours).map(|known| known.file.as_str());
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and every other character by itself.
fn tokens(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            _ if is_name(rest) => rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        found.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    found
}

/// The code without comments and without what stands in quotes.
fn plain(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(end) = raw_string(rest).filter(|_| !out.ends_with(|c: char| c.is_alphanumeric())) {
            end
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_char(rest) {
            quoted(rest, '\'')
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.push(' ');
        rest = &rest[end..];
    }
    out
}

/// The length of `r"…"` or `r#"…"#` at the beginning.
fn raw_string(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let body = inner[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close)?;
    Some(text.len() - body.len() + end + close.len())
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// A character and not a lifetime: `'a'`, `'\n'`.
fn is_char(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// The code without what stands behind `#[cfg(test)]`: an item up to its `;` or the end of its braces.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        rest = &rest[at + MARK.len()..];
        let mut depth = 0;
        let end = rest.char_indices().find_map(|(at, c)| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            (depth == 0 && (c == '}' || c == ';')).then_some(at + 1)
        });
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    out + rest
}
