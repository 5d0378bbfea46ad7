//! Manifests read with their places, and changed as text.

use serde_json::{Value, json};

use super::edit::{self, Change};
use super::*;

/// The change made to the text and the same change made to the parsed document must give the same.
fn agree(text: &str, changes: &[Change]) -> String {
    let edited = edit::apply(text, changes).unwrap_or_else(|| panic!("refused to edit:\n{text}"));
    let mut expected = parse(text).unwrap().unwrap().to_json();
    for change in changes {
        let patch = match change {
            Change::Add(path, value) => json!([{"op": "add", "path": path, "value": value}]),
            Change::Replace(path, value) => json!([{"op": "replace", "path": path, "value": value}]),
            Change::Remove(path) => json!([{"op": "remove", "path": path}]),
        };
        json_patch::patch(&mut expected, &serde_json::from_value::<json_patch::Patch>(patch).unwrap())
            .unwrap();
    }
    let read = parse(&edited).unwrap_or_else(|e| panic!("{e}\n{edited}")).unwrap().to_json();
    assert_eq!(read, expected, "\n{edited}");
    edited
}

fn migrate() -> Value {
    json!({"name": "migrate", "image": "prefect:1", "command": ["sh", "-c"], "args": ["one\n  two\n\nthree\n", "yes", "0644", ""]})
}

const INIT: &str = "/spec/initContainers";

#[test]
fn adds_a_list_before_the_containers_and_their_comments() {
    let text = "spec: # the pod\n  # what runs\n  # here\n  containers: # all\n  - name: api # the api\n    image: \"a:1\"\n  volumes: []\n";
    let edited = agree(text, &[Change::Add(INIT.into(), json!([migrate()]))]);
    let expected = "spec: # the pod\n  initContainers:\n  - name: migrate\n    image: prefect:1\n    command:\n    - sh\n    - -c\n    args:\n    - |\n      one\n        two\n\n      three\n    - \"yes\"\n    - \"0644\"\n    - \"\"\n  # what runs\n  # here\n  containers: # all\n";
    assert!(edited.starts_with(expected), "{edited}");
    assert!(edited.ends_with("  - name: api # the api\n    image: \"a:1\"\n  volumes: []\n"));
}

#[test]
fn follows_the_indentation_of_the_file() {
    let text = "spec:\n    containers:\n      - name: api\n        args:\n          - a\n";
    let edited = agree(text, &[Change::Add(INIT.into(), json!([{"name": "m", "args": ["x"]}]))]);
    assert!(
        edited.starts_with(
            "spec:\n    initContainers:\n      - name: m\n        args:\n          - x\n    containers:"
        ),
        "{edited}"
    );
}

#[test]
fn appends_inserts_replaces_and_removes_items() {
    let text = "spec:\n  initContainers:\n  # waits\n  - name: wait\n    image: a # why\n  # second\n  - name: other\n    args: [a,\n      b\n    ]\n  containers:\n  - name: api\n";
    let appended = agree(text, &[Change::Add(format!("{INIT}/-"), migrate())]);
    assert!(appended.contains("    ]\n  - name: migrate\n"), "{appended}");
    let first = agree(text, &[Change::Add(format!("{INIT}/0"), json!({"name": "m"}))]);
    assert!(first.contains("  initContainers:\n  - name: m\n  # waits\n  - name: wait\n"), "{first}");
    let middle = agree(text, &[Change::Add(format!("{INIT}/1"), json!({"name": "m"}))]);
    assert!(middle.contains("# why\n  - name: m\n  # second\n"), "{middle}");
    let replaced = agree(text, &[Change::Replace(format!("{INIT}/1"), json!({"name": "m"}))]);
    assert!(replaced.contains("  # second\n  - name: m\n  containers:"), "{replaced}");
    let removed = agree(text, &[Change::Remove(format!("{INIT}/1"))]);
    assert!(removed.contains("  # second\n  containers:"), "{removed}");
    let both = agree(text, &[Change::Remove(format!("{INIT}/0")), Change::Remove(format!("{INIT}/0"))]);
    assert!(both.contains("  initContainers: []\n  containers:"), "{both}");
    let moved = agree(
        text,
        &[Change::Remove(format!("{INIT}/0")), Change::Add(format!("{INIT}/-"), json!({"name": "wait"}))],
    );
    assert!(moved.contains("    ]\n  - name: wait\n  containers:"), "{moved}");
}

#[test]
fn fills_empty_lists() {
    for empty in ["", " []", " [ ]", " null", " ~", " # none yet"] {
        let text = format!("spec:\n  initContainers:{empty}\n  containers:\n  - name: api\n");
        agree(&text, &[Change::Add(INIT.into(), json!([{"name": "m"}]))]);
    }
    let text = "spec:\n  initContainers: [] # none\n  containers:\n  - name: api\n";
    agree(text, &[Change::Add(format!("{INIT}/-"), json!({"name": "m"}))]);
}

#[test]
fn keeps_the_quotes_of_a_replaced_string() {
    let image = "/spec/initContainers/0/image";
    for (old, new) in [("a:1", "b:2"), ("\"a:1\"", "\"b:2\""), ("'a:1'", "'b:2'")] {
        let text = format!("spec:\n  initContainers:\n  - image: {old} # pinned\n");
        let edited = agree(&text, &[Change::Replace(image.into(), json!("b:2"))]);
        assert_eq!(edited, format!("spec:\n  initContainers:\n  - image: {new} # pinned\n"));
    }
}

#[test]
fn works_where_the_file_ends_early_or_uses_windows_line_ends() {
    let text = "spec:\n  initContainers:\n  - name: a";
    assert_eq!(
        agree(text, &[Change::Add(format!("{INIT}/-"), json!({"name": "m"}))]),
        format!("{text}\n  - name: m")
    );
    let text = "spec:\r\n  containers:\r\n  - name: api\r\n";
    let edited = agree(text, &[Change::Add(INIT.into(), json!([migrate()]))]);
    assert!(!edited.replace("\r\n", "").contains('\n'), "{edited:?}");
}

#[test]
fn edits_json_and_flow_style_in_place() {
    let text = "{\n  \"spec\": {\n    \"containers\": [{\"name\": \"api\"}]\n  }\n}\n";
    let edited = agree(text, &[Change::Add(INIT.into(), json!([{"name": "m"}]))]);
    serde_json::from_str::<Value>(&edited).unwrap();
    let text = "spec: {initContainers: [{name: a}, {name: b}], containers: [{name: api}]}\n";
    agree(text, &[Change::Add(format!("{INIT}/-"), migrate())]);
    agree(text, &[Change::Add(format!("{INIT}/1"), migrate())]);
    agree(text, &[Change::Replace(format!("{INIT}/1"), migrate())]);
    agree(text, &[Change::Remove(format!("{INIT}/0"))]);
    agree(text, &[Change::Remove(format!("{INIT}/1"))]);
    agree(text, &[Change::Remove(format!("{INIT}/1")), Change::Remove(format!("{INIT}/0"))]);
    agree(text, &[Change::Remove(INIT.into())]);
    agree("spec: {initContainers: [], containers: []}\n", &[Change::Add(format!("{INIT}/-"), migrate())]);
}

#[test]
fn refuses_what_is_defined_elsewhere() {
    let text = "base: &b\n  containers:\n  - name: api\nspec: *b\n";
    assert_eq!(edit::apply(text, &[Change::Add(INIT.into(), json!([]))]), None);
}

#[test]
fn reads_documents_lists_and_their_lines() {
    let text = "\u{feff}# first\n---\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: a, namespace: data}\n- apiVersion: v1\n  kind: Service\n  metadata: {generateName: s-}\n--- # next\nimage: {{ .Values.image }}\n---\nreplicas: 1\n...\n---\na: 'open\n";
    let documents = read(text);
    let objects: Vec<_> = documents
        .iter()
        .flat_map(Document::objects)
        .map(|object| (object.pointer.clone(), object.kind(), object.name(), object.namespace()))
        .collect();
    assert_eq!(
        objects,
        [
            ("/items/0".to_owned(), "Deployment", "a", Some("data")),
            ("/items/1".to_owned(), "Service", "s-", None)
        ]
    );
    let errors: Vec<_> = documents
        .iter()
        .filter_map(|d| d.content.as_ref().err())
        .map(|e| (e.line, e.what.as_str()))
        .collect();
    assert_eq!(
        errors,
        [(14, "this is a template, not a manifest"), (19, "not readable as YAML: unclosed quote")]
    );
}

#[test]
fn reads_numbers_and_booleans_as_kubectl_does() {
    let node = parse("a: 0644\nb: 0x1F\nc: 'on'\nd: yes\ne: ~\nf: 2001-01-01\nyes: on\n").unwrap().unwrap();
    let expected =
        json!({"a": 420, "b": 31, "c": "on", "d": true, "e": null, "f": "2001-01-01", "yes": true});
    assert_eq!(node.to_json(), expected);
}

#[test]
fn bombs_are_refused_quickly_and_errors_show_no_values() {
    let mut bomb = "a0: &a0 [hunter2, hunter2]\n".to_owned();
    for level in 1..20 {
        bomb.push_str(&format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}]\n", level - 1));
    }
    let deep = "[".repeat(20_000);
    for text in [
        &bomb,
        &deep,
        "a: 'hunter2\n",
        "a: !!int hunter2\n",
        "a: hunter2: b\n",
        "a: *hunter2\n",
        "a: [hunter2\n",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!error.what.contains("hunter2") && !error.help.contains("hunter2"), "{error:?}");
    }
}

#[test]
fn shows_a_line_without_what_may_be_secret() {
    let first = "spec:\n  containers:\n  - name: api # hunter2\n    env:\n    - name: URL\n      value: hunter2 more\n    - {name: B, value: \"hunter2\", x: 'hunter2'}\n    args: [hunter2, -y]\n    command:\n    - hunter2\n    image: \"repo/prefect:1\"\n    note: |\n      hunter2\n    multi: hunter2\n      hunter2\n";
    let text = first;
    let root = parse(text).unwrap().unwrap();
    let shown = |pointer: &str| {
        let (steps, found) = root.walk(pointer);
        assert!(found);
        let bytes = steps.last().unwrap().node.place.bytes.clone();
        let line = mask::Masked::new(text, &root).line(bytes);
        let mark = line.text[line.mark.clone()].to_owned();
        (line.text, mark)
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let env = "/spec/containers/0/env";
    assert_eq!(shown("/spec/containers/0/name"), pair("  - name: api", "api"));
    assert_eq!(shown(&format!("{env}/0/value")), pair("      value: [hidden]", "[hidden]"));
    let flow = "    - {name: B, value: [hidden], x: [hidden]}";
    assert_eq!(shown(&format!("{env}/1/value")), pair(flow, "[hidden]"));
    assert_eq!(shown("/spec/containers/0/args/1"), pair("    args: [[hidden], [hidden]]", "[hidden]"));
    assert_eq!(shown("/spec/containers/0/command/0"), pair("    - [hidden]", "[hidden]"));
    assert_eq!(shown("/spec/containers/0/image").1, "\"repo/prefect:1\"");
    assert_eq!(shown("/spec/containers/0/note"), pair("      [hidden]", "[hidden]"));
    assert_eq!(shown("/spec/containers/0/multi"), pair("    multi: [hidden]", "[hidden]"));
    // An image that is none may hold a password; nothing of a name reaches the terminal but what is printable.
    let text = "image: \"u:hunter2@r/p\"\nname: \"a\u{202e}\u{61c}31mb\"\n";
    let root = parse(text).unwrap().unwrap();
    let lines = mask::Masked::new(text, &root);
    assert_eq!(lines.line(0..5).text, "image: [hidden]");
    assert_eq!(lines.line(23..27).text, "name: \"a  31mb\"");
    let text = first;
    let root = parse(text).unwrap().unwrap();
    // However a place is given, no line shows a value.
    for at in 0..text.len() {
        assert!(!mask::Masked::new(text, &root).line(at..at + 1).text.contains("hunter2"), "at {at}");
    }
}

#[test]
fn shows_a_piece_of_a_line_without_end() {
    let containers: Vec<String> =
        (0..2_000).map(|number| format!(r#"{{"name":"c{number}","value":"hunter2"}}"#)).collect();
    let text = format!(r#"{{"containers":[{}]}}"#, containers.join(","));
    let root = parse(&text).unwrap().unwrap();
    let lines = mask::Masked::new(&text, &root);
    for number in [0, 1_000, 1_999] {
        let at = text.find(&format!("\"c{number}\"")).unwrap();
        let line = lines.line(at..at + 3 + number.to_string().len());
        assert!(line.text.len() < 1_200, "{}", line.text.len());
        assert_eq!(&line.text[line.mark.clone()], format!("\"c{number}\""));
        assert!(!line.text.contains("hunter2"));
        assert_eq!(line.text.starts_with('…'), number > 0, "{}", line.text);
        assert_eq!(line.text.ends_with('…'), number < 1_999, "{}", line.text);
    }
    for at in (0..text.len()).step_by(7) {
        assert!(!lines.line(at..at + 1).text.contains("hunter"), "at {at}");
    }
}
