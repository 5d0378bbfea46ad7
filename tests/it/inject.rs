//! `inject`: the same change as the webhook's, made to the text, and nothing else.

use std::path::{Path, PathBuf};

use prefect_guard::manifest::edit::{self, Change};
use prefect_guard::manifest::emit::{self, Lists};
use prefect_guard::manifest::{self, Object};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::program::{self, Ran};

fn inject(arguments: &[&str], input: &str) -> Ran {
    program::run(&[&["inject"], arguments].concat(), input)
}

fn fixture(name: &str) -> String {
    let folder = if name.ends_with(".json") { "tests/fixtures/cli" } else { "examples" };
    std::fs::read_to_string(crate::support::root().join(folder).join(name)).unwrap()
}

/// What `/mutate` itself makes of an object, through kube's types and an RFC 6902 implementation of others.
fn through_the_webhook(object: &Object<'_>) -> Value {
    let group_version = object.api_version();
    let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "1", "operation": "CREATE", "namespace": object.namespace().unwrap_or("default"), "name": object.name(),
        "kind": {"group": group, "version": version, "kind": object.kind()},
        "resource": {"group": group, "version": version, "resource": "x"},
        "userInfo": {}, "object": object.node.to_json(),
    }});
    // What the webhook leaves on the object beside that is for clusters.
    let policy = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nreport: {annotation: false}\n";
    let policy = prefect_guard::policy::Policy::from_yaml(policy, prefect_guard::rules::CATALOGUE);
    crate::support::mutated(review.to_string().as_bytes(), &policy.expect("a policy"))
}

/// All objects of a stream, as JSON.
fn objects(text: &str) -> Vec<Value> {
    manifest::read(text)
        .iter()
        .flat_map(|document| {
            document.objects().iter().map(|object| object.node.to_json()).collect::<Vec<_>>()
        })
        .collect()
}

/// Lines of `after` that are not in `before` must be all there is: nothing is changed, nothing is moved.
fn only_adds(before: &str, after: &str) {
    let mut lines = after.lines();
    for line in before.lines() {
        assert!(lines.any(|other| other == line), "the line {line:?} is gone or moved");
    }
}

fn holds_for(name: &str, text: &str) {
    let ran = inject(&["-"], text);
    assert_eq!(ran.code, 0, "{name}: {}", ran.err);
    let again = inject(&["-"], &ran.out);
    assert_eq!(again.out, ran.out, "{name}: twice is not once");
    came_out_as_the_webhook_has_it(name, text, &ran.out, ran.err.is_empty());
}

/// `edited` says that the text was edited where it stood, not written anew.
fn came_out_as_the_webhook_has_it(name: &str, text: &str, out: &str, edited: bool) {
    let wanted: Vec<Value> = manifest::read(text)
        .iter()
        .flat_map(|document| document.objects().iter().map(through_the_webhook).collect::<Vec<_>>())
        .collect();
    assert_eq!(objects(out), wanted, "{name}");
    // Where there are initContainers already, one of them may be pinned, replaced or moved; the command of a Job that
    // migrates is replaced.
    let jobs = |text: &str| -> Vec<Value> {
        objects(text).into_iter().filter(|object| object["kind"] == "Job").collect()
    };
    if edited && !text.contains("initContainers") && jobs(text) == jobs(out) {
        only_adds(text, out);
    }
}

#[test]
fn adds_the_container_and_touches_nothing_else() {
    let text = fixture("server.yaml");
    let ran = inject(&["-"], &text);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let at =
        ran.out.find("            initContainers:\n              - name: prefect-guard-migrate\n").unwrap();
    let end = ran.out.find("            # The server and nothing else.\n").unwrap();
    assert!(at < end);
    assert_eq!(
        format!("{}{}", &ran.out[..at], &ran.out[end..]),
        text,
        "all the rest is as it was, byte for byte"
    );
    holds_for("server.yaml", &text);
}

#[test]
fn json_stays_json() {
    let text = fixture("list.json");
    let ran = inject(&["-"], &text);
    let value: Value = serde_json::from_str(&ran.out).expect("JSON");
    let init = &value["items"][1]["spec"]["template"]["spec"]["initContainers"];
    assert_eq!(init[0]["name"], "prefect-guard-migrate");
    holds_for("list.json", &text);
}

/// All of them in one run of the program, in a copy of the folders: a run for each would take half a minute.
#[test]
fn every_manifest_at_hand_comes_out_as_the_webhook_has_it() {
    let folders = [crate::support::root().join("tests/fixtures"), crate::support::root().join("examples")];
    let copies = tempfile::tempdir().unwrap();
    let mut texts = Vec::new();
    for path in folders.iter().flat_map(|folder| manifests(folder)) {
        let text = std::fs::read_to_string(&path).unwrap();
        if manifest::read(&text).iter().all(|document| document.content.is_ok()) {
            let ending = path.extension().unwrap().to_str().unwrap();
            let copy = copies.path().join(format!("{:04}.{ending}", texts.len()));
            std::fs::write(&copy, &text).unwrap();
            texts.push((path.display().to_string(), copy, text));
        }
    }
    assert!(texts.len() >= 300, "only {} manifests", texts.len());
    let in_place = || inject(&["-i", copies.path().to_str().unwrap()], "");
    let ran = in_place();
    assert_eq!(ran.code, 0, "{}", ran.err);
    let read = |copy: &PathBuf| std::fs::read_to_string(copy).unwrap();
    let mut outs = Vec::new();
    for (name, copy, text) in &texts {
        let out = read(copy);
        let file = copy.file_name().unwrap().to_str().unwrap();
        let rewritten = ran.err.lines().any(|line| line.contains(file) && line.contains("written anew"));
        came_out_as_the_webhook_has_it(name, text, &out, !rewritten);
        outs.push(out);
    }
    let again = in_place();
    assert_eq!((again.code, again.err.as_str()), (0, ""), "nothing is left to change");
    for ((name, copy, _), out) in texts.iter().zip(&outs) {
        assert_eq!(&read(copy), out, "{name}: twice is not once");
    }
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(manifests(&entry));
        } else if entry.extension().is_some_and(|ending| ending == "yaml") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

#[test]
fn in_place_changes_the_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.yaml");
    std::fs::write(&path, fixture("server.yaml")).unwrap();
    std::fs::write(folder.path().join("reset.yaml"), fixture("reset-every-night.yaml")).unwrap();
    let argument = folder.path().to_str().unwrap();
    let ran = inject(&["-i", argument], "");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert_eq!(ran.err, format!("changed `{}`\n", path.display()));
    let after = std::fs::read_to_string(&path).unwrap();
    assert_eq!(after, inject(&["-"], &fixture("server.yaml")).out);
    assert_eq!(
        std::fs::read_to_string(folder.path().join("reset.yaml")).unwrap(),
        fixture("reset-every-night.yaml")
    );
    assert_eq!(inject(&["-i", argument], "").err, "");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no file is left over");
    assert_eq!(inject(&["-i", "-"], "a: 1\n").code, 2);
}

#[test]
fn what_cannot_be_edited_is_written_anew_and_said() {
    let text = "spec: &pod\n  containers:\n  - name: api\n    image: prefecthq/prefect:3.4.20\n    args: [prefect, server, start]\n    env:\n    - name: PREFECT_SERVER_DATABASE_CONNECTION_URL\n      valueFrom: {secretKeyRef: {name: a, key: b}}\n";
    let text = format!(
        "# gone\nx-pod:\n  {}apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {{template: {{spec: *pod}}}}\n",
        text.replace('\n', "\n  ").trim_end_matches("  ")
    );
    let ran = inject(&["-"], &text);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("written anew, without its comments"), "{}", ran.err);
    let before = &objects(&text)[0];
    let after = &objects(&ran.out)[0];
    assert_eq!(after["spec"]["template"]["spec"]["initContainers"][0]["name"], "prefect-guard-migrate");
    assert_eq!(after["x-pod"], before["x-pod"], "what the alias was taken from is as it was");
}

#[test]
fn other_formats_hold_the_same() {
    let text = fixture("server.yaml");
    let yaml = inject(&["-o", "yaml", "-"], &text).out;
    assert_eq!(objects(&yaml), objects(&inject(&["-"], &text).out));
    let json = inject(&["-o", "json", "-"], &text).out;
    let values: Vec<Value> =
        serde_json::Deserializer::from_str(&json).into_iter().map(Result::unwrap).collect();
    assert_eq!(values, objects(&yaml));
}

#[test]
fn what_cannot_be_read_passes_through_and_ends_with_2() {
    let text = format!("a: 'open\n---\n{}", fixture("server.yaml"));
    let ran = inject(&["-"], &text);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("<stdin>:1:4: not readable as YAML"), "{}", ran.err);
    assert!(ran.out.starts_with("a: 'open\n---\n") && ran.out.contains("prefect-guard-migrate"));
}

#[test]
fn several_files_become_one_stream() {
    let ran = inject(&["examples/server.yaml", "examples/reset-every-night.yaml"], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(objects(&ran.out).len(), 3);
}

/// Any JSON that a manifest could hold, not too deep.
fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z]{0,6}",
        Just("yes".to_owned()),
        Just("0644".to_owned()),
        Just("- a: b # c".to_owned()),
        Just("two\nlines\n".to_owned()),
        Just(" {x}: 'y' \"z\"".to_owned()),
        "\\PC{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-e]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every pointer into a value.
fn pointers(value: &Value, here: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let pointer = format!("{here}/{index}");
                pointers(item, &pointer, found);
                found.push(pointer);
            }
            found.push(format!("{here}/-"));
        }
        Value::Object(map) => {
            for (key, item) in map {
                let pointer = format!("{here}/{key}");
                pointers(item, &pointer, found);
                found.push(pointer);
            }
            found.push(format!("{here}/zz"));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the document and the change: an edit of the text is refused, or gives what JSON Patch gives.
    #[test]
    fn an_edit_is_the_patch_or_nothing(
        document in values(), new in values(), at in any::<prop::sample::Index>(), kind in 0..3, style in 0..4,
    ) {
        let document = json!({"spec": document, "containers": [document]});
        let text = match style {
            0 => emit::block(&document, Lists::Flush),
            1 => format!("# first\n{}\n# last\n", emit::block(&document, Lists::Indented)),
            2 => format!("{document:#}\n"),
            _ => document.to_string(),
        };
        let read = manifest::parse(&text).unwrap().unwrap().to_json();
        prop_assert_eq!(&read, &document);
        let mut found = Vec::new();
        pointers(&document, "", &mut found);
        let pointer = at.get(&found).clone();
        let (change, operation) = match kind {
            0 => (Change::Add(pointer.clone(), new.clone()), json!({"op": "add", "path": pointer, "value": new})),
            1 => (Change::Replace(pointer.clone(), new.clone()), json!({"op": "replace", "path": pointer, "value": new})),
            _ => (Change::Remove(pointer.clone()), json!({"op": "remove", "path": pointer})),
        };
        let patch: json_patch::Patch = serde_json::from_value(json!([operation])).unwrap();
        let mut wanted = document;
        if json_patch::patch(&mut wanted, &patch).is_ok()
            && let Some(edited) = edit::apply(&text, std::slice::from_ref(&change))
        {
            let read = manifest::parse(&edited);
            prop_assert!(
                read.as_ref().is_ok_and(|node| node.as_ref().map(manifest::Node::to_json) == Some(wanted.clone())),
                "{:?}\n--- before\n{}\n--- after\n{}\n--- wanted\n{:#}", change, text, edited, wanted
            );
        }
    }
}
