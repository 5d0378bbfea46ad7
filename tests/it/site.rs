//! What the documentation's site is made of: its table of contents, a page for each rule, addresses that lead on.
//!
//! Made from the register and the folder `docs`; `UPDATE_DOCS=1 cargo test --test it site::` writes it anew. `tests/site`
//! builds the site and checks its links.

use std::collections::BTreeMap;
use std::fs;

use crate::support::root;
use prefect_guard::rule::{Level, SITE};
use prefect_guard::rules::REGISTER;

/// The pages in the order in which somebody needs them, by part.
const PARTS: &[(&str, &[&str])] = &[
    (
        "Using it",
        &[
            "getting-started",
            "rollout",
            "check",
            "argo-cd",
            "flux",
            "prefect-helm-chart",
            "databases",
            "migration",
            "rollback",
            "faq",
        ],
    ),
    (
        "Running it",
        &["install", "certificates", "emergency", "alerts", "metrics", "security", "upgrade", "uninstall"],
    ),
    (
        "Reference",
        &["what-is-read", "rules", "messages", "policy", "policies", "settings", "command-line", "glossary"],
    ),
    (
        "Inside",
        &[
            "architecture",
            "decisions",
            "reliability",
            "performance",
            "tested",
            "disagreements",
            "threat-model",
            "bypasses",
        ],
    ),
];

/// The files that are generated, by their path below `docs`.
fn generated() -> BTreeMap<String, String> {
    let mut files = BTreeMap::from([
        ("SUMMARY.md".to_owned(), summary()),
        ("book.toml".to_owned(), book()),
        ("rules.md".to_owned(), rules()),
        ("decisions.md".to_owned(), decisions()),
        ("messages.md".to_owned(), crate::messages::page()),
    ]);
    for entry in REGISTER {
        files.insert(format!("rules/{}.md", entry.rule.id), prefect_guard::cli::explain::page(entry.rule));
    }
    files
}

/// The heading of a page, which is its name in the table of contents.
fn heading(page: &str) -> String {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(page).to_owned()
}

fn summary() -> String {
    let mut text = String::from("# Summary\n\n[prefect-guard](index.md)\n");
    for (part, pages) in PARTS {
        text.push_str(&format!("\n# {part}\n\n"));
        for page in *pages {
            let file = format!("{page}.md");
            text.push_str(&format!("- [{}]({file})\n", heading(&file)));
            if *page == "rules" {
                for rule in REGISTER.iter().map(|entry| entry.rule) {
                    text.push_str(&format!("  - [{} {}](rules/{}.md)\n", rule.id, rule.name, rule.id));
                }
            }
            if *page == "decisions" {
                for file in decided() {
                    text.push_str(&format!("  - [{}]({file})\n", heading(&file)));
                }
            }
        }
    }
    text
}

/// The decisions, by their paths below `docs`, oldest first.
fn decided() -> Vec<String> {
    let folder = fs::read_dir(root().join("docs/adr")).unwrap();
    let mut files: Vec<String> =
        folder.map(|entry| format!("adr/{}", entry.unwrap().file_name().to_str().unwrap())).collect();
    files.sort();
    files
}

/// The table of all decisions.
fn decisions() -> String {
    let mut text = String::from(
        "# Decisions\n\nWhat was chosen, against what, and why: one page a decision. A decision that is taken back keeps \
         its page and says\nwhich one replaces it. Numbers in them were measured on two cores in November 2026; \
         [performance](performance.md) has\nthem with their method.\n\n| decision | status |\n|---|---|\n",
    );
    for file in decided() {
        let page = fs::read_to_string(root().join("docs").join(&file)).unwrap();
        let status = page.lines().nth(2).unwrap_or_default().trim_end_matches('.');
        text.push_str(&format!("| [{}]({file}) | {status} |\n", heading(&file)));
    }
    text
}

fn book() -> String {
    let path = SITE.split_once("//").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let mut text = format!(
        "# Generated; see tests/it/site.rs.\n[book]\ntitle = \"prefect-guard\"\nlanguage = \"en\"\nsrc = \".\"\n\n\
         [build]\nbuild-dir = \"../target/site\"\ncreate-missing = false\n\n[output.html]\nsite-url = \"/{path}\"\n\
         default-theme = \"light\"\npreferred-dark-theme = \"navy\"\nno-section-label = true\n\
         git-repository-url = \"https://github.com/prefect-guard/prefect-guard\"\n\n[output.html.fold]\nenable = true\n\
         level = 0\n\n[output.html.redirect]\n"
    );
    for rule in REGISTER.iter().map(|entry| entry.rule) {
        text.push_str(&format!("\"/rules/{}.html\" = \"{}.html\"\n", rule.name, rule.id));
    }
    text
}

/// The table of all rules.
fn rules() -> String {
    let mut text = String::from(
        "# Rules\n\nEach rule can be set to `deny`, `warn` or `off` in the [policy](policy.md), by name or id. The \
         columns show what happens when the policy says nothing.\n\n| id | name | default | finds |\n|---|---|---|---|\n",
    );
    for rule in REGISTER.iter().map(|entry| entry.rule) {
        let level = match rule.default {
            Level::Deny => "deny",
            Level::Warn => "warn",
            Level::Off => "off",
        };
        let summary = rule.summary.replace('|', "\\|");
        text.push_str(&format!(
            "| [{0}](rules/{0}.md) | `{1}` | {level} | {summary} |\n",
            rule.id, rule.name
        ));
    }
    text
}

#[test]
fn what_is_generated_is_fresh() {
    let docs = root().join("docs");
    let wanted = generated();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let _ = fs::remove_dir_all(docs.join("rules"));
        fs::create_dir_all(docs.join("rules")).unwrap();
        for (path, text) in &wanted {
            fs::write(docs.join(path), text).unwrap();
        }
    }
    let stale: Vec<&String> = wanted
        .iter()
        .filter(|(path, text)| fs::read_to_string(docs.join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path)
        .collect();
    assert!(
        stale.is_empty(),
        "stale: {stale:?}; `UPDATE_DOCS=1 cargo test --test it site::` writes them anew"
    );
    assert_eq!(
        fs::read_dir(docs.join("rules")).unwrap().count(),
        REGISTER.len(),
        "a page for each rule, no more"
    );
}

#[test]
fn every_page_has_its_place_in_the_table_of_contents() {
    let mut listed: Vec<String> =
        PARTS.iter().flat_map(|(_, pages)| *pages).map(|page| format!("{page}.md")).collect();
    listed.extend(["SUMMARY.md".to_owned(), "index.md".to_owned()]);
    listed.sort();
    let mut found: Vec<String> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md"))
        .collect();
    found.sort();
    assert_eq!(found, listed);
}

/// Numbers without gaps, and of each when it was decided and whether it holds.
#[test]
fn decisions_are_numbered_and_dated() {
    for (index, file) in decided().iter().enumerate() {
        let number = index + 1;
        assert!(file.starts_with(&format!("adr/{number:04}-")), "{file}");
        let page = fs::read_to_string(root().join("docs").join(file)).unwrap();
        assert!(page.starts_with(&format!("# {number}. ")), "{file}");
        let status = page.lines().nth(2).unwrap();
        let (word, date) = status.trim_end_matches('.').split_once(", ").unwrap_or_default();
        assert!(word == "Accepted" || word.starts_with("Replaced by ["), "{file}: {status}");
        assert!(date.len() == 10 && date.starts_with("20"), "{file}: {status}");
        for part in ["## Context", "## Decision", "## Consequences"] {
            assert!(page.lines().any(|line| line == part), "{file}: no `{part}`");
        }
    }
}

/// Mermaid takes a semicolon in a sequence diagram for the end of a statement, and draws a bomb.
#[test]
fn no_diagram_holds_a_semicolon() {
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        for diagram in text.split("```mermaid\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            assert!(!diagram.contains(';'), "{}:\n{diagram}", path.display());
        }
    }
}
