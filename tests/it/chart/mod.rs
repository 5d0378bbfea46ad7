//! The chart as the real `helm` renders it.
//!
//! `helm` is looked for in `PREFECT_GUARD_HELM`, `target/live/bin` and `PATH`; a missing one fails these tests.

mod documents;
mod filter;
pub(crate) mod helm;
mod monitoring;
mod objects;
mod properties;
pub(crate) mod refusals;
mod rights;
mod strict;

use std::path::PathBuf;

use serde_json::Value;

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

/// The chart's value `policy` takes every key of a policy, and no other. `kinds` is a value of its own, since the
/// webhook's rules need it too; what names the document is the chart's to write.
#[test]
fn the_policy_value_takes_the_keys_of_a_policy() {
    let schema = prefect_guard::policy::schema(prefect_guard::rules::CATALOGUE);
    let chart: Value = serde_json::from_str(&read("charts/prefect-guard/values.schema.json")).unwrap();
    let elsewhere = ["apiVersion", "kind", "kinds"];
    let wanted: Vec<String> = keys(&schema, &schema)
        .into_iter()
        .filter(|key| !elsewhere.iter().any(|other| key == other || key.starts_with(&format!("{other}."))))
        .filter(|key| !key.contains("rules."))
        .collect();
    let mut found = keys(&chart, &chart["properties"]["policy"]);
    // Kubernetes' own, which a policy only hands on.
    found.retain(|key| !key.contains("migration.resources."));
    assert_eq!(found, wanted);
    for key in ["migration.serialize", "namespaces.*.migration.env.*.value"] {
        assert!(wanted.iter().any(|wanted| wanted == key), "{wanted:?}");
    }
}

/// The keys of a schema in order, those inside an object as `outer.inner`.
fn keys(root: &Value, schema: &Value) -> Vec<String> {
    let schema = match schema["$ref"].as_str().and_then(|to| root.pointer(to.trim_start_matches('#'))) {
        Some(named) => named,
        None => schema,
    };
    let mut found = Vec::new();
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        found.push(key.clone());
        found.extend(keys(root, inner).into_iter().map(|inner| format!("{key}.{inner}")));
    }
    for inner in
        ["additionalProperties", "items"].map(|of| &schema[of]).into_iter().filter(|inner| inner.is_object())
    {
        found.extend(keys(root, inner).into_iter().map(|inner| format!("*.{inner}")));
    }
    for one in ["anyOf", "allOf"].iter().filter_map(|of| schema[of].as_array()).flatten() {
        found.extend(keys(root, one));
    }
    found.sort();
    found.dedup();
    found
}
