//! Shared by the integration tests: recorded reviews, and the oracles that judge our answers.

pub mod settings;

pub mod generate;
pub mod golden;
pub mod program;
pub mod table;

use std::path::Path;

use kube::core::DynamicObject;
use kube::core::admission::{AdmissionResponse, AdmissionReview};
use prefect_guard::answer::answer;
use prefect_guard::decision::Endpoint;
use prefect_guard::decision::annotation::{CHECKED_BY, FINDINGS};
use prefect_guard::policy::Policy;
use serde_json::{Value, json};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file's name and content.
pub type Named = (String, Vec<u8>);

/// The reviews that a real API server sent: those of the official charts' objects, and all others.
pub fn recorded_reviews() -> (Vec<Named>, Vec<Named>) {
    let (chart, others): (Vec<_>, Vec<_>) = json_files(&root().join("tests/fixtures/reviews"))
        .into_iter()
        .partition(|(name, _)| name.starts_with("chart-"));
    assert!(chart.len() > 15 && others.len() > 15, "{} and {} reviews", chart.len(), others.len());
    (chart, others)
}

/// Every JSON file of a folder, by name.
pub fn json_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder of reviews")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a readable review"))
        })
        .collect();
    files.sort();
    files
}

/// Our answer, read by kube's own types and checked against the contract that holds for every answer.
pub fn ask(endpoint: Endpoint, body: &[u8], policy: &Policy) -> Value {
    let answer = answer(endpoint, body, policy);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    read(endpoint, body, &answer.body)
}

/// An answer, wherever it comes from, read and checked in the same way.
pub fn read(endpoint: Endpoint, body: &[u8], answer: &[u8]) -> Value {
    let raw: Value = serde_json::from_slice(answer).expect("JSON");
    let response = read_by_kube(&raw);
    let sent: AdmissionReview<DynamicObject> = serde_json::from_slice(body).expect("kube reads the review");
    assert_eq!(sent.request.expect("a request").uid, response.uid, "the uid is echoed");
    let raw = &raw["response"];
    assert_eq!(
        raw.get("patch").is_some(),
        raw.get("patchType").is_some(),
        "patch and patchType: both or neither"
    );
    match endpoint {
        Endpoint::Mutate => assert!(response.allowed, "mutate never denies"),
        Endpoint::Validate => assert!(raw.get("patch").is_none(), "validate never patches"),
    }
    for warning in response.warnings.iter().flatten() {
        assert!(warning.len() <= 256 && !warning.chars().any(char::is_control), "{warning}");
    }
    if !response.allowed {
        assert_eq!(response.result.code, 403);
        assert_eq!(response.result.reason, "Forbidden");
        assert!(!response.result.message.is_empty());
    }
    raw.clone()
}

/// The answer through kube's own type. It wants `patch` as a list of numbers and `status` always, where the API
/// server reads base64 and takes an absent status: both are put right first.
fn read_by_kube(answer: &Value) -> AdmissionResponse {
    let mut answer = answer.clone();
    let response = answer["response"].as_object_mut().expect("a response");
    response.remove("patch");
    response.entry("status").or_insert_with(|| json!({}));
    let review: AdmissionReview<DynamicObject> =
        serde_json::from_value(answer).expect("kube reads our answer");
    review.response.expect("a response")
}

/// The patch of an answer, decoded; empty where there is none.
pub fn patch_of(response: &Value) -> json_patch::Patch {
    use base64::Engine as _;
    match response["patch"].as_str() {
        None => json_patch::Patch(Vec::new()),
        Some(text) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
            serde_json::from_slice(&bytes).expect("an RFC 6902 document")
        }
    }
}

/// The rule ids that an answer names, denials with a `!`.
pub fn rules_of(response: &Value) -> Vec<String> {
    let causes = response["status"]["details"]["causes"].as_array().into_iter().flatten();
    let denied = causes.map(|cause| format!("!{}", cause["reason"].as_str().expect("a rule id")));
    let warned = response["warnings"].as_array().into_iter().flatten();
    let warned = warned.map(|w| w.as_str().expect("text").split(' ').next().expect("an id").to_owned());
    denied.chain(warned).collect()
}

/// The same review with another object (and, for an update, the old one).
pub fn with_objects(body: &[u8], object: &Value, old: Option<&Value>) -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(body).expect("JSON");
    review["request"]["object"] = object.clone();
    if let Some(old) = old {
        review["request"]["oldObject"] = old.clone();
        review["request"]["operation"] = json!("UPDATE");
    }
    serde_json::to_vec(&review).expect("JSON")
}

/// Mutates as the API server would: our patch applied to the object of the review.
pub fn mutated(body: &[u8], policy: &Policy) -> Value {
    patched(body, &ask(Endpoint::Mutate, body, policy))
}

/// The object of a review with the patch of an answer applied.
pub fn patched(body: &[u8], response: &Value) -> Value {
    let review: Value = serde_json::from_slice(body).expect("JSON");
    let mut object = review["request"]["object"].clone();
    json_patch::patch(&mut object, &patch_of(response)).expect("the patch applies");
    object
}

/// The object without what we write into its own annotations; an empty map counts as none.
pub fn without_annotations(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(own) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            own.shift_remove(FINDINGS);
            own.shift_remove(CHECKED_BY);
        }
        if metadata.get("annotations").is_some_and(|own| own.is_null() || own == &json!({})) {
            metadata.shift_remove("annotations");
        }
    }
    object
}
