//! What holds for every workload, every policy and every sequence of bytes.
//!
//! The patch is applied by the json-patch crate, which shares no code with what writes it. Runs are the same each
//! time; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` look elsewhere and for longer.

use crate::support::generate::{
    self, CANARY, OURS, any_json, object, object_of, policy, reordered, review, template,
};
use crate::support::{ask, mutated, patch_of, without_annotations};
use prefect_guard::answer::answer;
use prefect_guard::decision::annotation::{CHECKED_BY, FINDINGS, LIMIT};
use prefect_guard::decision::{Endpoint, decide};
use prefect_guard::policy::Policy;
use prefect_guard::review::Request;
use prefect_guard::rule::MESSAGE_LIMIT;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

fn config() -> ProptestConfig {
    let mut config = ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() };
    if let Some(cases) = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()) {
        config.cases = cases;
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(20_261_123);
    }
    config
}

fn settled(yaml: &str) -> Policy {
    Policy::from_yaml(yaml, prefect_guard::rules::CATALOGUE).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

fn of(yaml: &str, part: &str) -> bool {
    yaml.contains(part)
}

/// Where the kind keeps its pod template.
fn template_pointer(object: &Value) -> &'static str {
    let kind = object["kind"].as_str().expect("a kind");
    generate::KINDS.iter().find(|known| known.2 == kind).expect("a kind we generate").3
}

/// The object without our container and our annotations; an empty list of initContainers counts as none.
fn without_ours(object: &Value) -> Value {
    let mut object = without_annotations(object);
    let pointer = format!("{}/spec", template_pointer(&object));
    let Some(spec) = object.pointer_mut(&pointer).and_then(Value::as_object_mut) else { return object };
    if let Some(list) = spec.get_mut("initContainers").and_then(Value::as_array_mut) {
        list.retain(|container| container["name"] != OURS);
    }
    if spec.get("initContainers").is_some_and(|list| list.is_null() || list == &json!([])) {
        spec.shift_remove("initContainers");
    }
    object
}

/// The object with the images of its initContainers blanked, and those images.
fn without_images(object: &Value) -> (Value, Vec<Value>) {
    let mut object = object.clone();
    let pointer = format!("{}/spec/initContainers", template_pointer(&object));
    let mut images = Vec::new();
    for container in object.pointer_mut(&pointer).and_then(Value::as_array_mut).into_iter().flatten() {
        images.push(container["image"].take());
    }
    (object, images)
}

fn server_images(object: &Value) -> Vec<Value> {
    let spec = object.pointer(&format!("{}/spec", template_pointer(object))).expect("a pod spec");
    let lists = [&spec["containers"], &spec["initContainers"]];
    lists
        .into_iter()
        .filter_map(Value::as_array)
        .flatten()
        .map(|container| container["image"].clone())
        .collect()
}

/// Everything an answer says, for looking for what it must not say. The patch repeats the author's own object to
/// the API server and is looked at elsewhere.
fn said(endpoint: Endpoint, body: &[u8], policy: &Policy) -> String {
    let answer = answer(endpoint, body, policy);
    let mut json: Value = serde_json::from_slice(&answer.body).expect("JSON");
    if let Some(response) = json.get_mut("response").and_then(Value::as_object_mut) {
        response.shift_remove("patch");
    }
    let text = std::str::from_utf8(body).expect("UTF-8");
    let review: Value = serde_json::from_str(text).expect("JSON");
    let object = review["request"]["object"].to_string();
    let request = Request::of_manifest(&object);
    let decision =
        request.as_ref().map_or(Ok(Default::default()), |request| decide(endpoint, request, policy));
    let helps: String = decision.iter().flat_map(|d| &d.findings).map(|f| f.help.as_str()).collect();
    format!("{json} {:?} {request:?} {decision:?} {helps}", answer.record)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_patch_touches_only_our_container_and_pinned_images(object in object(), yaml in policy()) {
        let after = mutated(&review(&object, None), &settled(&yaml));
        let (before, old_images) = without_images(&without_ours(&object));
        let (rest, new_images) = without_images(&without_ours(&after));
        prop_assert_eq!(before, rest);
        for (old, new) in old_images.iter().zip(&new_images) {
            prop_assert!(old == new || server_images(&object).contains(new), "{} became {}", old, new);
        }
    }

    #[test]
    fn mutating_twice_changes_nothing_more(object in object(), yaml in policy()) {
        let policy = settled(&yaml);
        let once = mutated(&review(&object, None), &policy);
        let again = ask(Endpoint::Mutate, &review(&once, None), &policy);
        prop_assert_eq!(patch_of(&again).0.len(), 0, "{:?}", patch_of(&again));
    }

    #[test]
    fn mutating_a_change_twice_changes_nothing_more(old in object(), next in template(), yaml in policy()) {
        let policy = settled(&yaml);
        let old = mutated(&review(&old, None), &policy);
        let kind = generate::KINDS.iter().position(|kind| old["kind"] == kind.2).expect("a kind");
        let mut object = object_of(kind, next);
        carry_ours_over(&old, &mut object);
        let once = mutated(&review(&object, Some(&old)), &policy);
        let again = ask(Endpoint::Mutate, &review(&once, Some(&old)), &policy);
        prop_assert_eq!(patch_of(&again).0.len(), 0, "{:?}", patch_of(&again));
        // A later review knows nothing of the object before: it must agree.
        let (before, _) = without_images(&without_ours(&object));
        let (rest, _) = without_images(&without_ours(&once));
        prop_assert_eq!(before, rest);
    }

    /// What stands on the object is what `/validate` would say of it as a new one, whatever stood there before.
    #[test]
    fn the_annotation_holds_what_is_left_to_say(
        object in object(),
        yaml in policy(),
        own in proptest::option::of(proptest::collection::btree_map(
            prop::sample::select(vec![FINDINGS, CHECKED_BY, "example.org/other"]), "[a-z\\n]{0,9}", 0..3)),
    ) {
        let policy = settled(&yaml);
        let mut object = object;
        let written = mutated(&review(&object, None), &policy);
        if let Some(own) = &own {
            object["metadata"]["annotations"] = json!(own);
        }
        let after = mutated(&review(&object, None), &policy);
        let annotation = |object: &Value| object["metadata"]["annotations"].get(FINDINGS).cloned();
        let annotates = !of(&yaml, "audit") && !of(&yaml, "annotation: false") && template_pointer(&object) == "/spec/template"
            && object["kind"] != "Job" && !object["metadata"]["ownerReferences"].to_string().contains("true");
        if !annotates {
            prop_assert_eq!(&object["metadata"], &after["metadata"]);
            return Ok(());
        }
        prop_assert_eq!(annotation(&after), annotation(&written));
        let others = |object: &Value| object["metadata"]["annotations"].get("example.org/other").cloned();
        prop_assert_eq!(others(&after), others(&object));
        let text = after.to_string();
        let decision = decide(Endpoint::Validate, &Request::of_manifest(&text).expect("an object"), &policy).expect("an object");
        let said: Vec<String> = decision.findings.iter().map(|finding| finding.message()).collect();
        match annotation(&after) {
            None => prop_assert!(said.is_empty(), "{:?}", said),
            Some(text) => {
                let text = text.as_str().expect("a text");
                prop_assert!(text.len() <= LIMIT && !text.contains(CANARY), "{}", text);
                if !text.contains("\nand ") {
                    prop_assert_eq!(text, said.join("\n"));
                }
                prop_assert!(after["metadata"]["annotations"][CHECKED_BY].is_string());
            }
        }
    }

    #[test]
    fn nothing_fixable_is_left_after_mutate(old in object(), next in template(), update: bool, yaml in policy()) {
        prop_assume!(!of(&yaml, "audit"));
        let policy = settled(&yaml);
        let old = mutated(&review(&old, None), &policy);
        let kind = generate::KINDS.iter().position(|kind| old["kind"] == kind.2).expect("a kind");
        let mut object = object_of(kind, next);
        carry_ours_over(&old, &mut object);
        let old = update.then_some(&old);
        let once = mutated(&review(&object, old), &policy);
        let text = once.to_string();
        let old_text = old.map(Value::to_string);
        let mut request = Request::of_manifest(&text).expect("a readable object");
        if let Some(old_text) = &old_text {
            request.operation = "UPDATE".into();
            request.old_object = Some(serde_json::from_str(old_text).expect("JSON"));
        }
        let decision = decide(Endpoint::Validate, &request, &policy).expect("a readable object");
        let left: Vec<String> = decision.findings.iter().filter(|f| f.fix.is_some()).map(|f| f.message()).collect();
        prop_assert!(left.is_empty(), "{:?}", left);
    }

    #[test]
    fn no_password_comes_out_again(object in object(), old in object(), yaml in policy()) {
        let policy = settled(&yaml);
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            for body in [review(&object, None), review(&object, Some(&old))] {
                let text = said(endpoint, &body, &policy);
                let at = text.find(CANARY);
                prop_assert!(at.is_none(), "{}", &text[at.unwrap_or(0).saturating_sub(200)..][..240.min(text.len())]);
            }
        }
    }

    #[test]
    fn no_password_comes_out_of_what_cannot_be_read(wild in any_json(), policy in policy()) {
        let policy = settled(&policy);
        let text = wild.to_string();
        if let Ok(request) = Request::of_manifest(&text) {
            let decision = decide(Endpoint::Validate, &request, &policy);
            let shown = format!("{decision:?}");
            prop_assert!(!shown.contains(CANARY));
        }
        let mut object = object_of(0, wild.clone());
        object["metadata"]["annotations"] = json!({"prefect": "x"});
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            prop_assert!(!said(endpoint, &review(&object, None), &policy).contains(CANARY));
        }
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200), wild in any_json()) {
        let policy = Policy::default();
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            for body in [bytes.clone(), wild.to_string().into_bytes(), [wild.to_string().into_bytes(), bytes.clone()].concat()] {
                let answer = answer(endpoint, &body, &policy);
                prop_assert!(matches!(answer.status, 200 | 400));
                let _: Value = serde_json::from_slice(&answer.body).expect("JSON");
            }
        }
    }

    #[test]
    fn any_object_gets_a_review_with_its_uid(wild in any_json(), old in any_json(), whole: bool, update: bool) {
        let object = if whole { wild } else { object_of(0, wild) };
        let mut request: Value = serde_json::from_slice(&review(&object_of(0, json!({})), None)).expect("JSON");
        request["request"]["object"] = object;
        request["request"]["x"] = json!("prefect");
        if update {
            request["request"]["operation"] = json!("UPDATE");
            request["request"]["oldObject"] = old;
        }
        let body = serde_json::to_vec(&request).expect("JSON");
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            let answer = answer(endpoint, &body, &Policy::default());
            prop_assert_eq!(answer.status, 200);
            let json: Value = serde_json::from_slice(&answer.body).expect("JSON");
            prop_assert_eq!(&json["response"]["uid"], &request["request"]["uid"]);
            prop_assert!(json["response"]["allowed"].is_boolean());
            prop_assert!(endpoint == Endpoint::Validate || json["response"]["allowed"] == true);
        }
    }

    /// White space before a review changes nothing.
    #[test]
    fn white_space_around_a_review_means_nothing(
        (plain, wild) in (object(), any_json()),
        old in proptest::option::of(object()),
        is_wild: bool,
        damage in proptest::option::of((any::<prop::sample::Index>(), "[-0e{}\\[\\]\",:\\\\utn ]{0,2}")),
    ) {
        let object = if is_wild { object_of(0, wild) } else { plain };
        let mut body = String::from_utf8(review(&object, old.as_ref())).expect("UTF-8");
        if let Some((at, with)) = damage {
            let (at, there) = body.char_indices().nth(at.index(body.chars().count())).expect("it is not empty");
            body.replace_range(at..at + there.len_utf8(), &with);
        }
        let other = format!(" {body}");
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            let quick = answer(endpoint, body.as_bytes(), &Policy::default());
            let slow = answer(endpoint, other.as_bytes(), &Policy::default());
            prop_assert_eq!(quick.status, slow.status, "{}", body);
            // An error of JSON names the column.
            if quick.status == 200 {
                prop_assert_eq!(String::from_utf8(quick.body), String::from_utf8(slow.body), "{}", body);
                prop_assert_eq!(format!("{:?}", quick.record), format!("{:?}", slow.record));
            }
        }
    }

    #[test]
    fn the_same_review_gets_the_same_answer(object in object(), yaml in policy()) {
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            let body = review(&object, None);
            let first = answer(endpoint, &body, &settled(&yaml));
            let second = answer(endpoint, &body, &settled(&yaml));
            prop_assert_eq!(first.body, second.body);
            prop_assert_eq!(format!("{:?}", first.record), format!("{:?}", second.record));
        }
    }

    #[test]
    fn an_untouched_template_is_left_alone(object in object(), yaml in policy()) {
        let policy = settled(&yaml);
        let mut next = reordered(&object);
        next["metadata"]["labels"] = json!({"changed": "yes"});
        next["spec"]["replicas"] = json!(7);
        let body = review(&next, Some(&object));
        prop_assert!(ask(Endpoint::Mutate, &body, &policy).get("patch").is_none());
        let verdict = ask(Endpoint::Validate, &body, &policy);
        prop_assert_eq!(&verdict["allowed"], &json!(true));
        prop_assert!(verdict.get("warnings").is_none());
    }

    #[test]
    fn what_is_going_away_may_go(object in object(), old in object(), yaml in policy()) {
        let policy = settled(&yaml);
        let mut object = object;
        object["metadata"]["deletionTimestamp"] = json!("2026-11-23T12:00:00Z");
        for body in [review(&object, None), review(&object, Some(&old))] {
            prop_assert!(ask(Endpoint::Mutate, &body, &policy).get("patch").is_none());
            prop_assert_eq!(&ask(Endpoint::Validate, &body, &policy)["allowed"], &json!(true));
        }
    }

    #[test]
    fn audit_says_and_does_nothing(object in object(), old in object(), wild in any_json(), yaml in policy()) {
        let policy = settled(&yaml.replace("mode: enforce", "mode: audit").replace("mode: warn", "mode: audit"));
        let unreadable = object_of(0, json!({"metadata": {"labels": {"a": "prefect"}}, "spec": wild}));
        for body in [review(&object, None), review(&object, Some(&old)), review(&unreadable, None)] {
            for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
                let response = ask(endpoint, &body, &policy);
                prop_assert_eq!(&response["allowed"], &json!(true));
                prop_assert!(response.get("patch").is_none() && response.get("warnings").is_none(), "{}", response);
            }
        }
    }

    #[test]
    fn messages_read_well(object in object(), yaml in policy()) {
        let text = object.to_string();
        let request = Request::of_manifest(&text).expect("a readable object");
        let decision = decide(Endpoint::Validate, &request, &settled(&yaml)).expect("a readable object");
        for finding in decision.findings {
            let message = finding.message();
            prop_assert!(message.len() <= MESSAGE_LIMIT && !message.chars().any(char::is_control), "{}", message);
            prop_assert!(message.matches('`').count() % 2 == 0, "{}", message);
            prop_assert!(!finding.help.is_empty(), "{}", message);
            prop_assert!(object.pointer(&finding.place.pointer).is_some() || finding.place.pointer.ends_with("/image"),
                "{} points at {}", message, finding.place.pointer);
        }
    }
}

/// Properties of workloads that are never patched nor refused would prove nothing.
#[test]
fn the_generators_reach_every_edit_and_every_migration_rule() {
    use proptest::strategy::ValueTree;
    let seed = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config(), seed);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..1500 {
        let text = object().new_tree(&mut runner).expect("an object").current().to_string();
        let request = Request::of_manifest(&text).expect("a readable object");
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            let decision = decide(endpoint, &request, &Policy::default()).expect("a readable object");
            seen.extend(decision.edits.iter().copied());
            seen.extend(decision.findings.iter().map(|finding| finding.rule.id));
        }
    }
    let edits = ["inject", "replace", "move", "remove", "pin"];
    let rules = ["PSG201", "PSG202", "PSG203", "PSG205", "PSG206", "PSG207", "PSG301", "PSG302"];
    for wanted in edits.iter().chain(&rules) {
        assert!(seen.contains(wanted), "nothing generated leads to {wanted}: {seen:?}");
    }
}

/// As `kubectl apply` does: our container of the live object stays in the new one, at its end or where it was.
fn carry_ours_over(old: &Value, new: &mut Value) {
    let pointer = format!("{}/spec/initContainers", template_pointer(old));
    let is_ours = |container: &&Value| container["name"] == OURS;
    let live = old.pointer(&pointer).and_then(Value::as_array);
    let Some(ours) = live.and_then(|list| list.iter().find(is_ours)).cloned() else { return };
    let Some(list) = new.pointer_mut(&pointer).and_then(Value::as_array_mut) else { return };
    if !list.iter().any(|container| container["name"] == OURS) {
        list.insert(list.len() / 2, ours);
    }
}
