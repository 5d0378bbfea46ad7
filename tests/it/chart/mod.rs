//! The chart as the real `helm` renders it.
//!
//! `helm` is looked for in `PREFECT_GUARD_HELM`, `target/live/bin` and `PATH`; a missing one fails these tests.

mod documents;
mod filter;
mod helm;
mod monitoring;
mod objects;
mod properties;
mod refusals;
mod strict;

use std::path::PathBuf;

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// An address of the documentation's site is that of a page in `docs`.
fn leads_to_a_page(url: &str) {
    let path =
        url.strip_prefix(prefect_guard::rule::SITE).unwrap_or_else(|| panic!("`{url}` is not in the site"));
    let page = path.split('#').next().unwrap_or_default().replace(".html", ".md");
    assert!(repository(&format!("docs/{page}")).is_file(), "`{url}` leads nowhere");
}

/// What `helm install` says at its end names pages that are there.
#[test]
fn the_notes_lead_to_pages() {
    let notes = read("charts/prefect-guard/templates/NOTES.txt");
    let urls: Vec<&str> = notes.split_whitespace().filter(|word| word.starts_with("https://")).collect();
    assert!(urls.len() >= 2, "{urls:?}");
    urls.into_iter().for_each(leads_to_a_page);
}

/// The text of a file in the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
