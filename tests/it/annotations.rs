//! The schema of the annotations says of a value what the program says of it.

use prefect_guard::kubernetes::pod::Annotations;
use prefect_guard::policy::annotation_schema::schema;
use prefect_guard::policy::annotations::{KEYS, Own, PREFIX};
use prefect_guard::rules::CATALOGUE;
use regex::Regex;
use serde_json::{Value, json};

/// Whether the schema takes this annotation, by the few keywords that it uses; another one fails the test.
fn takes(schema: &Value, name: &str, value: &str) -> bool {
    let matches = |pattern: &Value, text: &str| Regex::new(pattern.as_str().unwrap()).unwrap().is_match(text);
    let [known, others] = &schema["propertyNames"]["anyOf"].as_array().unwrap()[..] else {
        panic!("{schema}")
    };
    let is_known = known["enum"].as_array().unwrap().contains(&name.into());
    if !is_known && matches(&others["not"]["pattern"], name) {
        return false;
    }
    let Some(own) = schema["properties"].get(name) else { return true };
    own.as_object().unwrap().iter().all(|(keyword, wanted)| match keyword.as_str() {
        "type" => wanted == "string",
        "description" => true,
        "enum" => wanted.as_array().unwrap().contains(&value.into()),
        "pattern" => matches(wanted, value),
        "minLength" => value.chars().count() as u64 >= wanted.as_u64().unwrap(),
        other => panic!("the keyword `{other}`"),
    })
}

/// Whether the program understands it: what it does not is PSG903.
fn understands(name: &str, value: &str) -> bool {
    let text = json!({ name: value }).to_string();
    let annotations: Annotations<'_> = serde_json::from_str(&text).unwrap();
    Own::read(&annotations, CATALOGUE).unknown.is_empty()
}

#[test]
fn schema_and_program_agree() {
    let schema = schema(CATALOGUE);
    let values = [
        "",
        " ",
        "true",
        "false",
        "True",
        "api",
        "PSG103",
        "psg103",
        "sync-driver",
        "Sync-Driver",
        "PSG103,sync-driver",
        " PSG103 , sync-driver ,",
        ",,PSG112,, PSG103",
        "PSG103 PSG112",
        "PSG999",
        "PSG103;PSG112",
        "a demo",
        "last",
        "first",
        "before:vault",
        "after:x",
        "before:",
        "between:x",
        "auto",
        "always",
        "never",
        "Auto",
        "continue",
        "fail",
        "run",
        "wait",
        "wait:db-upgrade",
        "wait:",
        "wait:UPPER",
        "wait:a.b-1",
        "run:x",
    ];
    let (mut taken, mut refused) = (0, 0);
    for (key, _) in KEYS {
        let name = format!("{PREFIX}{key}");
        for value in values {
            let understood = understands(&name, value);
            assert_eq!(takes(&schema, &name, value), understood, "{name}: {value:?}");
            *(if understood { &mut taken } else { &mut refused }) += 1;
        }
        let properties = schema["properties"].as_object().unwrap();
        assert!(properties[&name].as_object().unwrap().len() >= 3, "{name} takes anything");
        assert_eq!(properties.len(), KEYS.len());
    }
    assert!(taken > 40 && refused > 100, "{taken} taken, {refused} refused");
    for name in ["prefect-guard.io/ínject", "prefect-guard.io/injekt", "prefect-guard.io/"] {
        assert!(!takes(&schema, name, "true") && !understands(name, "true"), "{name}");
    }
    for name in ["other.io/inject", "prefect-guardXio/x", "app"] {
        assert!(takes(&schema, name, "x") && understands(name, "x"), "{name}");
    }
}
