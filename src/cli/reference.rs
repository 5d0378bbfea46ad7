//! Reference pages that are made from the code: the policy file and the command line.

use clap::Command;
use serde_json::{Value, json};

use crate::policy::annotations::{KEYS, PREFIX};
use crate::policy::schema;
use crate::prefect::settings::{SETTINGS, Setting};
use crate::rules::CATALOGUE;

/// The policy reference, as `docs/policy.md` holds it.
pub fn policy() -> String {
    let schema = schema(CATALOGUE);
    let mut text = String::from(
        "# The policy file\n\nGenerated from the schema; do not edit. The schema itself is \
         [policy.schema.json](policy.schema.json), or `prefect-guard policy schema`; examples are in \
         [policies.md](policies.md).\n\n\
         A policy is optional: without one, every rule has its own level and nothing else is changed. Unknown keys \
         are refused with their line; `prefect-guard policy check FILE` says so before a rollout does.\n\n\
         | key | values | |\n|---|---|---|\n",
    );
    rows(&schema, &schema, "", &mut text);
    text.push_str(
        "\nRules are named by name or id; [rules.md](rules.md) lists them. In YAML 1.1 a bare `off` is a boolean; \
         it is read as the level all the same, and `\"off\"` is clearer.\n\n\
         ## Annotations\n\nRead from the pod template alone. A `prefect-guard.io/` key or value that is not here is \
         PSG903. Their JSON Schema is [annotations.schema.json](annotations.schema.json), or \
         `prefect-guard policy schema --annotations`.\n\n| annotation | values |\n|---|---|\n",
    );
    for (key, values) in KEYS {
        text.push_str(&format!("| `{PREFIX}{key}` | {} |\n", values.replace('|', "\\|")));
    }
    text
}

/// The settings of Prefect that are read, as `docs/settings.md` holds them.
pub fn settings() -> String {
    let mut text = String::from(
        "# Settings of Prefect that are read\n\nGenerated from the table in `src/prefect/settings.rs`; do not edit. \
         `UPDATE_DOCS=1 cargo test --test it structure::` writes it anew. An older release ignores a setting and \
         logs nothing (PSG115). Names are read in any case. Of two names the upper one wins.\n\n\
         | name | read from | value | |\n|---|---|---|---|\n",
    );
    for setting in &SETTINGS {
        for (index, name) in setting.names.iter().enumerate() {
            let until = setting.replaced.map(|(until, by)| format!(", before {until}; then `{}`", by.name()));
            let about = if index == 0 { setting.about } else { "The same." };
            let (since, kind) = (name.since, setting.kind.wanted());
            text.push_str(&format!(
                "| `{}` | {since}{} | {kind} | {about} |\n",
                name.text,
                until.unwrap_or_default()
            ));
        }
    }
    text
}

/// The same for the live tests: `tests/live/settings.json`.
pub fn settings_json() -> String {
    let one = |setting: &Setting| {
        let names =
            setting.names.iter().map(|name| json!({"name": name.text, "since": name.since.to_string()}));
        json!({
            "names": names.collect::<Vec<_>>(),
            "kind": setting.kind.name(),
            "until": setting.replaced.map(|(until, _)| until.to_string()),
        })
    };
    format!("{:#}\n", Value::Array(SETTINGS.iter().map(one).collect()))
}

/// One row for each key, with the keys below it.
fn rows(root: &Value, schema: &Value, prefix: &str, text: &mut String) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        let inner = resolve(root, property);
        let says = description(root, property);
        let says = says.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        text.push_str(&format!("| `{path}` | {} | {says} |\n", values(root, inner)));
        match key.as_str() {
            // Its properties are the names of all rules.
            "rules" => {}
            "namespaces" => {
                rows(root, resolve(root, &inner["additionalProperties"]), &format!("{path}.NAME."), text);
            }
            "kinds" => rows(root, resolve(root, &inner["items"]), &format!("{path}[]."), text),
            _ => rows(root, inner, &format!("{path}."), text),
        }
    }
}

/// What a key is, in the words of its documentation.
pub(super) fn description<'s>(root: &'s Value, property: &'s Value) -> &'s str {
    let own = property["description"].as_str();
    own.or_else(|| resolve(root, property)["description"].as_str()).unwrap_or_default()
}

/// Follows a reference, and an alternative with null to what it is when it is given.
pub(super) fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    if let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        return root.pointer(pointer).map_or(schema, |found| resolve(root, found));
    }
    match schema["anyOf"].as_array() {
        Some(all) => all.iter().find(|one| one["type"] != "null").map_or(schema, |one| resolve(root, one)),
        None => schema,
    }
}

/// The values a key may have, where they can be listed.
pub(super) fn choices(root: &Value, schema: &Value) -> Vec<String> {
    let schema = resolve(root, schema);
    if let Some(all) = schema["oneOf"].as_array() {
        return all.iter().map(|one| plain(&one["const"])).collect();
    }
    if let Some(all) = schema["enum"].as_array() {
        return all.iter().filter(|one| one.is_string()).map(plain).collect();
    }
    match kind(schema).as_str() {
        "boolean" => vec!["true".to_owned(), "false".to_owned()],
        _ => Vec::new(),
    }
}

/// The JSON type of a key's value.
pub(super) fn kind(schema: &Value) -> String {
    match &schema["type"] {
        Value::Array(all) => all.iter().find(|one| *one != "null").map(plain).unwrap_or_default(),
        kind => plain(kind),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn values(root: &Value, schema: &Value) -> String {
    let choices = choices(root, schema);
    if !choices.is_empty() {
        return choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
    }
    match kind(schema).as_str() {
        "array" if resolve(root, &schema["items"])["enum"].is_array() => "list of rules".to_owned(),
        "array" => "list".to_owned(),
        "object" if CATALOGUE.rules().all(|rule| schema["properties"][rule.id].is_object()) => {
            "rule: `deny`, `warn`, `off`".to_owned()
        }
        "object" => "map".to_owned(),
        other => other.to_owned(),
    }
}

/// The command line reference, as `docs/command-line.md` holds it.
pub fn command_line(definition: Command) -> String {
    let mut text = String::from("# Command line\n\nGenerated from the program; do not edit.\n");
    let mut root = definition.term_width(100);
    root.build();
    page(&root, "prefect-guard", &mut text);
    text
}

fn page(command: &Command, name: &str, text: &mut String) {
    let help = command.clone().color(clap::ColorChoice::Never).render_long_help().to_string();
    text.push_str(&format!("\n## {name}\n\n```text\n"));
    for line in help.trim_end().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("```\n");
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        page(inner, &format!("{name} {}", inner.get_name()), text);
    }
}
