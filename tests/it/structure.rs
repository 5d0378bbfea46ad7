//! The house rules, read from the sources: what the pure part may not name, what the register promises, what the
//! documentation says.
//!
//! Generated pages are compared with what the program makes of itself; `UPDATE_DOCS=1` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use prefect_guard::cli::reference;
use prefect_guard::policy::Policy;
use prefect_guard::policy::annotations::{KEYS, PREFIX};
use prefect_guard::rule::Scope;
use prefect_guard::rules::{CATALOGUE, Check, REGISTER};
use serde_json::Value;

/// The modules that know no files, network, clock, environment or tasks. A new module has to be put into one of the
/// two lists.
const PURE: &[&str] = &[
    "text",
    "rule",
    "json",
    "kubernetes",
    "surroundings",
    "shell",
    "environment",
    "prefect",
    "server",
    "policy",
    "migration",
    "subject",
    "rules",
    "review",
    "decision",
    "answer",
];
const AROUND: &[&str] = &["cli", "cluster", "core", "lib", "main", "manifest", "serve", "telemetry", "tls"];

/// What a pure module never names.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::os",
    "std::process",
    "std::thread",
    "std::time",
    "Mutex",
    "RwLock",
    "mpsc",
    "Atomic",
    "tokio",
    "hyper",
    "axum",
    "http::",
    "tower",
    "rustls",
    "kube::",
    "k8s_openapi",
    "tracing",
    "prometheus_client",
    "futures",
    "async fn",
    "async move",
    ".await",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "println!",
    "eprintln!",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below a folder with this ending, by name, as paths from the repository's root.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|own| own == ending) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The module a source file belongs to: `src/rules/x.rs` is `rules`.
fn module(path: &Path) -> String {
    let first = path.components().nth(1).unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file without comments and without its own tests.
fn code(path: &Path) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.ends_with("tests.rs")
}

#[test]
fn every_module_is_pure_or_shell() {
    let found: BTreeSet<String> = files("src", "rs").iter().map(|path| module(path)).collect();
    let known: BTreeSet<String> = PURE.iter().chain(AROUND).map(|name| (*name).to_owned()).collect();
    assert_eq!(found, known);
    let core = read("src/core.rs");
    let modules: Vec<&str> =
        core.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut pure = PURE.to_vec();
    pure.sort_unstable();
    assert_eq!(modules, pure, "the modules of `src/core.rs`");
    let watched = "#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]";
    assert!(core.lines().any(|line| line == watched), "clippy does not watch over the pure part");
}

#[test]
fn pure_modules_know_no_io_clock_environment_or_tasks() {
    let mut broken = Vec::new();
    for path in
        files("src", "rs").into_iter().filter(|path| PURE.contains(&module(path).as_str()) && !is_test(path))
    {
        let mut code = code(&path);
        if path.ends_with("answer/respond.rs") {
            // The trait by which serde_json writes into memory, and what it returns.
            code = code.replace("std::io::Write", "").replace("std::io::Result", "");
        }
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            broken.push(format!("{} names `{word}`", path.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A newcomer who reads only the first line of each file knows what is in it.
#[test]
fn the_first_line_of_a_file_says_what_is_in_it() {
    let mut broken = Vec::new();
    for path in files("src", "rs") {
        let text = read(&path);
        let first = text.lines().next().unwrap_or_default();
        let says_it = first.starts_with("//! ") && first.ends_with(['.', ')']);
        if !says_it {
            broken.push(format!("{}: {first}", path.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn files_have_the_size_of_a_room() {
    let mut broken = Vec::new();
    for path in files("src", "rs") {
        let lines = read(&path).lines().count();
        let limit = match path.to_str().unwrap() {
            "src/main.rs" => 30,
            name if name.starts_with("src/rules/psg") => 150,
            _ => 600,
        };
        if lines > limit {
            broken.push(format!("{}: {lines} lines, at most {limit}", path.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_register_and_the_disk_agree() {
    let on_disk = |ending| -> BTreeSet<String> {
        files("src/rules", ending)
            .iter()
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("psg"))
            .collect()
    };
    let registered: BTreeSet<String> = REGISTER
        .iter()
        .map(|entry| format!("{}_{}", entry.rule.id.to_lowercase(), entry.rule.name.replace('-', "_")))
        .collect();
    assert_eq!(on_disk("rs"), registered);
    assert_eq!(on_disk("md"), registered);
    let ids: Vec<&str> = REGISTER.iter().map(|entry| entry.rule.id).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids, sorted, "the register is in the order of the ids, each once");
}

#[test]
fn every_rule_has_a_page() {
    for entry in REGISTER {
        let rule = entry.rule;
        let head = format!("# {} {}\n\n", rule.id, rule.name);
        assert!(rule.page.starts_with(&head), "{} begins with another heading", rule.id);
        assert!(rule.page.lines().count() >= 8, "the page of {} says too little", rule.id);
        let fences = rule.page.lines().filter(|line| line.trim_start().starts_with("```")).count();
        assert_eq!(fences % 2, 0, "a code block of {} is not closed", rule.id);
        assert!(!rule.summary.ends_with('.') && !rule.summary.is_empty(), "{}", rule.id);
        let version: Vec<u32> = rule.since.split('.').map(|part| part.parse().unwrap()).collect();
        assert_eq!(version.len(), 3, "{}", rule.id);
    }
}

#[test]
fn the_scope_of_a_rule_is_how_it_looks() {
    for entry in REGISTER {
        let over_several = matches!(entry.check, Check::Stream(_));
        assert_eq!(entry.rule.scope == Scope::Stream, over_several, "{:?}", entry.rule);
    }
    assert!(CATALOGUE.rules().eq(REGISTER.iter().map(|entry| entry.rule)));
}

/// What is special about a rule stands in its metadata, so that whoever adds one changes no other source than `mod.rs` and
/// `catalogue.rs`.
#[test]
fn no_rule_is_known_elsewhere_by_its_id_or_name() {
    let mut broken = Vec::new();
    let elsewhere = |path: &PathBuf| {
        // The demo says beforehand what each of its scenes will be refused for.
        !path.starts_with("src/rules") && !path.starts_with("src/cli/demo") && !is_test(path)
    };
    for path in files("src", "rs").into_iter().filter(elsewhere) {
        let code = code(&path);
        for rule in CATALOGUE.rules() {
            let module = format!("{}_{}", rule.id.to_lowercase(), rule.name.replace('-', "_"));
            let words = [format!("\"{}\"", rule.id), format!("\"{}\"", rule.name), module];
            let found = words.iter().filter(|word| code.contains(word.as_str()));
            broken.extend(found.map(|word| format!("{} names {word}", path.display())));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_rule_has_fixtures() {
    let names: Vec<String> =
        ["yaml", "json", "table"].iter().flat_map(|end| files("tests/fixtures", end)).map(read).collect();
    for rule in REGISTER.iter().map(|entry| entry.rule) {
        assert!(
            names.iter().any(|text| text.contains(rule.id)),
            "no fixture below tests/fixtures speaks of {}",
            rule.id
        );
    }
}

/// Markdown files that people read.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].iter().map(PathBuf::from).collect();
    pages.extend(files("docs", "md"));
    for folder in ["charts", "certs"] {
        if root().join(folder).is_dir() {
            pages.extend(files(folder, "md"));
        }
    }
    pages
}

/// The lines of a page outside of code blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut kept = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn no_link_is_dead() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = prose(&read(&page));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            if !root().join(&target).exists() {
                broken.push(format!("{}: `{link}` leads nowhere", page.display()));
            } else if !anchor.is_empty() && !anchors(&read(&target)).contains(anchor) {
                broken.push(format!("{}: `{link}`: no such heading", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Files move; what the documentation says of them follows.
#[test]
fn every_source_that_the_documentation_names_exists() {
    let mut broken = Vec::new();
    // Those two tell of what was: releases, and what was measured when.
    let is_history = |page: &PathBuf| page.ends_with("CHANGELOG.md") || page.ends_with("performance.md");
    for page in pages().into_iter().filter(|page| !is_history(page)) {
        for word in read(&page).split('`').skip(1).step_by(2) {
            let is_path =
                ["src/", "tests/", "benches/", "charts/"].iter().any(|folder| word.starts_with(folder));
            let is_plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-".contains(c));
            if is_path && is_plain && !word.contains("NNN") && !root().join(word).exists() {
                broken.push(format!("{}: `{word}` does not exist", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn annotations_in_the_documentation_exist_and_the_reverse() {
    let known: BTreeSet<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    // Not annotations of pod templates: two labels, the group of the policy file, and what is written on the workload.
    let others = ["enabled", "database-url", "v1alpha1", "findings", "checked-by"];
    let mut named = BTreeSet::new();
    // The page of messages is full of names that are wrong, for that is what they are about.
    for page in pages().into_iter().filter(|page| !page.ends_with("messages.md")) {
        for rest in read(&page).split(PREFIX).skip(1) {
            let key: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            let key = key.trim_end_matches('-').to_owned();
            assert!(
                key.is_empty() || known.contains(key.as_str()) || others.contains(&key.as_str()),
                "{}: `{PREFIX}{key}` is not read by anything",
                page.display()
            );
            named.insert(key);
        }
    }
    for key in known {
        assert!(named.contains(key), "no page speaks of `{PREFIX}{key}`");
    }
}

#[test]
fn policies_in_the_documentation_are_policies() {
    let mut found = 0;
    for page in pages() {
        for block in read(&page).split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            // What configures a function has a name beside it; the tests of `krm` try it.
            if block.contains("kind: Policy") && !block.contains("config.kubernetes.io/function") {
                found += 1;
                if let Err(error) = Policy::from_yaml(block, CATALOGUE) {
                    panic!("{}: {error}\n{block}", page.display());
                }
            }
        }
    }
    assert!(found >= 3, "only {found} policies in the documentation");
}

#[test]
fn generated_pages_are_fresh() {
    let schema = format!("{:#}\n", prefect_guard::policy::schema(CATALOGUE));
    let annotations = prefect_guard::policy::annotation_schema::schema(CATALOGUE);
    let annotations = format!("{annotations:#}\n");
    let pages = [
        ("docs/policy.md", reference::policy()),
        ("docs/settings.md", reference::settings()),
        ("tests/live/settings.json", reference::settings_json()),
        ("docs/command-line.md", reference::command_line(prefect_guard::cli::definition())),
        ("docs/policy.schema.json", schema),
        ("docs/annotations.schema.json", annotations),
    ];
    let mut stale = Vec::new();
    for (path, wanted) in pages {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(root().join(path), &wanted).unwrap();
        }
        let found = fs::read_to_string(root().join(path)).unwrap_or_default();
        if found != wanted {
            stale.push(path);
        }
    }
    assert!(
        stale.is_empty(),
        "stale: {stale:?}; `UPDATE_DOCS=1 cargo test --test it structure::` writes them anew"
    );
}

#[test]
fn the_version_is_in_one_place() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = read("charts/prefect-guard/Chart.yaml");
    for line in [format!("version: {version}"), format!("appVersion: {version}")] {
        assert!(chart.lines().any(|found| found == line), "Chart.yaml has no `{line}`");
    }
    assert!(read("CHANGELOG.md").contains(&format!("## {version}")), "the changelog knows no {version}");
    let rust = read("rust-toolchain.toml");
    let minimum = env!("CARGO_PKG_RUST_VERSION");
    assert!(rust.contains(&format!("channel = \"{minimum}")), "Cargo.toml says Rust {minimum}");
    assert!(
        read("Dockerfile").contains(&format!("rust:{minimum}")),
        "the Dockerfile builds with another Rust"
    );
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 150, "{lines} lines");
}

#[test]
fn the_project_has_no_keys_and_leaves_nothing_open() {
    let mut broken = Vec::new();
    let folders = [("src", "rs"), ("tests", "rs"), ("tests", "py"), ("charts", "yaml"), ("docs", "md")];
    let all: Vec<PathBuf> = folders.iter().flat_map(|(folder, ending)| files(folder, ending)).collect();
    // In two parts, so that this file is not found by its own search.
    let words =
        [["TO", "DO:"], ["FIX", "ME"], ["todo", "!("], ["unimplemented", "!("], ["PRIVATE KEY", "-----\nM"]];
    for path in all {
        let text = read(&path);
        for word in words.iter().map(|parts| parts.concat()).filter(|word| text.contains(word.as_str())) {
            broken.push(format!("{}: {word}", path.display()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn workflows_and_actions_are_yaml_and_name_what_exists() {
    for path in [".github/workflows/release.yml", "action.yml", ".pre-commit-hooks.yaml"] {
        let documents = prefect_guard::manifest::read(&read(path));
        let values: Vec<Value> = documents
            .into_iter()
            .filter_map(|document| document.content.unwrap())
            .map(|node| node.to_json())
            .collect();
        assert_eq!(values.len(), 1, "{path}");
        let text = values[0].to_string();
        for word in text.split("prefect-guard ").skip(1).filter_map(|rest| rest.split_whitespace().next()) {
            let command = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
            let commands: Vec<String> = prefect_guard::cli::definition()
                .get_subcommands()
                .map(|command| command.get_name().to_owned())
                .collect();
            if command.chars().all(|c| c.is_ascii_lowercase())
                && !command.is_empty()
                && word.len() == command.len()
            {
                assert!(commands.iter().any(|known| known == command), "{path}: no command `{command}`");
            }
        }
    }
}

/// rustup chooses the toolchain by the current directory, and that of a workflow is the caller's repository.
#[test]
fn the_action_builds_with_its_own_toolchain_and_only_once() {
    let documents = prefect_guard::manifest::read(&read("action.yml"));
    let action = documents.into_iter().find_map(|document| document.content.unwrap()).unwrap().to_json();
    let steps = action["runs"]["steps"].as_array().unwrap();
    let step = |name: &str| steps.iter().find(|step| step["name"] == name).unwrap();
    let build = step("Build");
    assert_eq!(build["working-directory"], "${{ github.action_path }}");
    assert!(build["run"].as_str().unwrap().contains("cargo install --locked"));
    assert_eq!(build["if"], "steps.cache.outputs.cache-hit != 'true'");
    let cache = step("Cache");
    let (_, pin) = cache["uses"].as_str().unwrap().split_once('@').unwrap();
    assert!(pin.len() == 40 && pin.chars().all(|c| c.is_ascii_hexdigit()), "a tag can be moved: {pin}");
    assert!(cache["with"]["key"].as_str().unwrap().contains("steps.sources.outputs.key"));
    // What the key is made of is there.
    let sources = step("Sources")["run"].as_str().unwrap();
    let named = sources.split("find ").nth(1).and_then(|rest| rest.split(" -type").next()).unwrap();
    for path in named.split_whitespace() {
        assert!(root().join(path).exists(), "{path}");
    }
}
