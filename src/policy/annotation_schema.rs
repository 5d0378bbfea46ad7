//! The JSON Schema of our annotations, for editors and linters: made from their keys and from the policy's own types.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::annotations::{KEYS, PREFIX};
use super::settings::{OnNewerSchema, Serialize};
use crate::rule::Catalogue;

/// The schema of a pod template's annotations, as far as they are ours; the rules that they name are those of
/// `catalogue`.
pub fn schema(catalogue: Catalogue) -> Value {
    let mut properties = Map::new();
    for (key, expected) in KEYS {
        let mut own = values(key, catalogue);
        own.insert("type".to_owned(), "string".into());
        own.insert("description".to_owned(), format!("Takes {expected}.").into());
        properties.insert(format!("{PREFIX}{key}"), own.into());
    }
    let known: Vec<&String> = properties.keys().collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Annotations",
        "description": "What the annotations of a pod template say to prefect-guard. Those of others are free.",
        "type": "object",
        "propertyNames": {"anyOf": [{"enum": known}, {"not": {"pattern": format!("^{}", escaped(PREFIX))}}]},
        "properties": properties,
    })
}

/// What may stand as the value of a key.
fn values(key: &str, catalogue: Catalogue) -> Map<String, Value> {
    let one = |keyword: &str, value: Value| Map::from_iter([(keyword.to_owned(), value)]);
    match key {
        "inject" => one("enum", json!(["true", "false"])),
        "container" => one("minLength", 1.into()),
        "allow" => one("pattern", rules(catalogue).into()),
        "allow-reason" => one("pattern", r"\S".into()),
        "position" => one("pattern", "^(last|first|(before|after):.+)$".into()),
        "serialize" => one("enum", names_of::<Serialize>()),
        "on-newer-schema" => one("enum", names_of::<OnNewerSchema>()),
        "migration" => one("pattern", "^(run|wait(:[a-z0-9.-]{1,253})?)$".into()),
        _ => Map::new(),
    }
}

/// The names of an enum, by its own schema.
fn names_of<T: JsonSchema>() -> Value {
    let schema = schemars::schema_for!(T).to_value();
    let variants = schema["oneOf"].as_array().into_iter().flatten();
    let names = variants.flat_map(|variant| {
        let several = variant["enum"].as_array().cloned().unwrap_or_default();
        several.into_iter().chain(variant.get("const").cloned())
    });
    let mut names: Vec<Value> = names.collect();
    names.extend(schema["enum"].as_array().cloned().unwrap_or_default());
    names.into()
}

/// Names and ids of rules in any case, between commas.
fn rules(catalogue: Catalogue) -> String {
    let in_any_case = |name: &str| -> String {
        let letter = |c: char| match c {
            c if c.is_ascii_alphabetic() => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
            c => c.to_string(),
        };
        name.chars().map(letter).collect()
    };
    let names: Vec<String> =
        catalogue.rules().flat_map(|rule| [rule.id, rule.name]).map(in_any_case).collect();
    let one = format!("({})", names.join("|"));
    format!(r"^[\s,]*({one}\s*(,[\s,]*|$))*$")
}

fn escaped(text: &str) -> String {
    text.replace('.', r"\.")
}
