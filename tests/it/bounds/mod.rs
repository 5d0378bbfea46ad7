//! Objects made to be slow, or to fill the answer: what is told is bounded, and the work grows with the size of the
//! object, not with its square. The limits of time are generous; what they catch takes minutes.

mod containers;

use std::time::{Duration, Instant};

use crate::support::generate::review;
use crate::support::{ask, patch_of, rules_of};
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use prefect_guard::rule::REPORTED;
use prefect_guard::rules::REGISTER;
use serde_json::{Value, json};

const URL: &str = "PREFECT_SERVER_DATABASE_CONNECTION_URL";

fn server(name: &str, url: &str) -> Value {
    let command = ["prefect", "server", "start"];
    json!({"name": name, "image": "prefecthq/prefect:3.8.8", "command": command, "env": [{"name": URL, "value": url}]})
}

fn deployment(annotations: &Value, containers: &Value) -> Value {
    let template = json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "p"}, "spec": {"template": template}})
}

/// The rules of the answer, which has to be short and soon, also where the same object stood there before.
fn judged(object: &Value) -> Vec<String> {
    let begin = Instant::now();
    let policy = Policy::default();
    let mut old = object.clone();
    old["spec"]["template"]["metadata"]["labels"] = json!({"changed": "since"});
    let found = rules_of(&ask(Endpoint::Validate, &review(object, None), &policy));
    let stood = rules_of(&ask(Endpoint::Validate, &review(object, Some(&old)), &policy));
    assert!(begin.elapsed() < Duration::from_secs(20), "took {:?}", begin.elapsed());
    for found in [&found, &stood] {
        for rule in REGISTER.iter().map(|entry| entry.rule.id) {
            let reported = found.iter().filter(|id| id.trim_start_matches('!') == rule).count();
            assert!(reported <= 2 * (REPORTED + 1), "{reported} findings of {rule}");
        }
    }
    found
}

#[test]
fn thousands_of_unknown_options_in_a_url() {
    let options: Vec<String> = (0..20_000).map(|number| format!("o{number}=1")).collect();
    for head in ["postgresql+asyncpg://u@db/d", "sqlite+aiosqlite:////d/p.db"] {
        let values = options.join("&").replace('o', if head.starts_with('s') { "timeout" } else { "o" });
        judged(&deployment(&json!({}), &json!([server("s", &format!("{head}?{values}"))])));
    }
    let url = format!("postgresql+asyncpg://u@db/d?{}", options.join("&"));
    let found = judged(&deployment(&json!({}), &json!([server("s", &url)])));
    let of_options = found.iter().filter(|id| *id == "!PSG106").count();
    assert!((2..=REPORTED).contains(&of_options), "{found:?}");
}

#[test]
fn a_million_containers_of_two_bytes() {
    let each = size_of::<prefect_guard::kubernetes::Container<'_>>();
    assert!(each <= 450, "read, each would take {each} bytes");
    let object = deployment(&json!({}), &json!([server("s", "postgresql://u@db/d")])).to_string();
    let object =
        object.replacen("\"containers\":[", &format!("\"containers\":[{}", "{},".repeat(1_000_000)), 1);
    let body = String::from_utf8(review(&deployment(&json!({}), &json!([])), None)).expect("UTF-8");
    let (head, tail) = body.split_once("\"object\":").expect("an object");
    let tail = &tail[tail.find(",\"oldObject\"").expect("what is behind it")..];
    let body = format!("{head}\"object\":{object}{tail}");
    let answer = prefect_guard::answer::answer(Endpoint::Validate, body.as_bytes(), &Policy::default());
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(answer["response"]["allowed"], false);
    let message = "cannot read the object: `spec.template` holds more objects than are read (50000)";
    assert_eq!(answer["response"]["status"]["message"], message);
}

/// Two templates of very many objects are compared without trees of either being built.
#[test]
fn a_million_objects_beside_a_million_others() {
    let list = |last: &str| format!("{{\"spec\":[{}{last}]}}", "{},".repeat(1_000_000));
    let begin = Instant::now();
    assert!(prefect_guard::json::same(&list("1"), &list("1")), "equal text is the same");
    assert!(!prefect_guard::json::same(&list("1"), &list("2")));
    assert!(begin.elapsed() < Duration::from_secs(5), "took {:?}", begin.elapsed());
    assert!(prefect_guard::json::same("{\"a\": [1, {\"b\":\"x\"}]}", "{\"a\":[1,{\"b\":\"\\u0078\"}]}"));
    assert!(!prefect_guard::json::same("{\"a\":[1,2]}", "{\"a\":[1]}"));
}

#[test]
fn a_million_members_of_a_request() {
    let body = String::from_utf8(review(&deployment(&json!({}), &json!([])), None)).expect("UTF-8");
    let members: String = (0..1_000_000).map(|number| format!("\"m{number:07}\":\"prefect\",")).collect();
    let body = body.replacen("\"userInfo\":", &format!("{members}\"userInfo\":"), 1);
    let begin = Instant::now();
    let answer = prefect_guard::answer::answer(Endpoint::Mutate, body.as_bytes(), &Policy::default());
    assert_eq!(answer.status, 200);
    assert!(begin.elapsed() < Duration::from_secs(20), "took {:?}", begin.elapsed());
}

#[test]
fn thousands_of_repeated_options_in_a_url() {
    let values = vec!["timeout=soon"; 15_000].join("&");
    judged(&deployment(&json!({}), &json!([server("s", &format!("sqlite+aiosqlite:////d/p.db?{values}"))])));
}

#[test]
fn hundreds_of_undefined_variables_in_a_url() {
    let names: String = (0..200).map(|number| format!("$(NAME_{number})")).collect();
    let url = format!("postgresql+asyncpg://u@db/d?{names}{}", "x".repeat(100_000));
    assert!(judged(&deployment(&json!({}), &json!([server("s", &url)]))).contains(&"!PSG107".to_owned()));
}

#[test]
fn thousands_of_annotations_of_ours() {
    let annotations: serde_json::Map<String, Value> =
        (0..5_000).map(|number| (format!("prefect-guard.io/a{number}"), json!("x"))).collect();
    let found =
        judged(&deployment(&json!(annotations), &json!([server("s", "postgresql+asyncpg://u@db/d")])));
    assert_eq!(found.iter().filter(|id| *id == "PSG903").count(), REPORTED + 1);
}

#[test]
fn thousands_of_words_in_an_annotation() {
    for words in ["zzz,", "sync-driver,"] {
        let annotations = json!({"prefect-guard.io/allow": words.repeat(50_000)});
        judged(&deployment(&annotations, &json!([server("s", "postgresql+asyncpg://u@db/d")])));
    }
}

#[test]
fn thousands_of_bad_servers() {
    let servers: Vec<Value> = (0..2_000)
        .map(|number| server(&format!("s{number}"), &format!("postgresql://u@db/{number}")))
        .collect();
    let found = judged(&deployment(&json!({}), &json!(servers)));
    assert_eq!(found.iter().filter(|id| *id == "!PSG103").count(), REPORTED + 1);
}

#[test]
fn what_is_folded_away_still_denies() {
    let object = |last: &str| {
        let servers: Vec<Value> = (0..REPORTED + 5)
            .map(|number| server(&format!("s{number}"), "postgresql://u@db/d"))
            .chain([server("last", last)])
            .collect();
        deployment(&json!({}), &json!(servers))
    };
    let (old, new) = (object("postgresql+asyncpg://u@db/d"), object("postgresql://u@db/other"));
    let answer = ask(Endpoint::Validate, &review(&new, Some(&old)), &Policy::default());
    let found = rules_of(&answer);
    assert!(found.contains(&"!PSG103".to_owned()), "the new fault denies behind many old ones: {found:?}");
}

#[test]
fn thousands_of_variables_mounts_and_volumes_around_a_migration_of_ours() {
    let list =
        |count: usize, entry: &dyn Fn(usize) -> Value| -> Vec<Value> { (0..count).map(entry).collect() };
    let url = json!({"name": URL, "value": "postgresql+asyncpg://u@127.0.0.1/d?host=/run/pg"});
    let own = |head: &str| {
        let mut env = vec![url.clone()];
        env.extend(list(4_000, &|number| json!({"name": format!("{head}{number}"), "value": "$(X)"})));
        env
    };
    let mounts =
        list(4_000, &|number| json!({"name": format!("v{number}"), "mountPath": format!("/m/{number}")}));
    let container = |name: &str, command: &[&str], env: &[Value]| {
        json!({
            "name": name, "image": "prefecthq/prefect:3.8.8", "command": command, "env": env, "volumeMounts": mounts,
        })
    };
    let server = container("s", &["prefect", "server", "start"], &own("A"));
    let other = container("o", &["sleep"], &[]);
    let ours =
        container("prefect-guard-migrate", &["prefect", "server", "database", "upgrade", "-y"], &own("B"));
    let mut object = deployment(&json!({}), &json!([server, other]));
    let spec = &mut object["spec"]["template"]["spec"];
    spec["initContainers"] = json!([ours]);
    spec["volumes"] = json!(list(4_000, &|number| json!({"name": format!("v{number}"), "secret": {}})));
    judged(&object);
    let sqlite = json!([{"name": "PREFECT_HOME", "value": "/data/$(X_SERVICE_HOST)"}]);
    object["spec"]["template"]["spec"]["containers"][0]["env"] = sqlite;
    judged(&object);
}

#[test]
fn hundreds_of_migrations_to_pin_are_all_pinned_and_few_are_reported() {
    let url = json!([{"name": URL, "value": "postgresql+asyncpg://u@db/d"}]);
    let command = ["prefect", "server", "database", "upgrade", "-y"];
    let migrations: Vec<Value> = (0..200)
        .map(|number| json!({"name": format!("m{number}"), "image": "prefecthq/prefect:3.4.0", "command": command, "env": url}))
        .collect();
    let mut object = deployment(&json!({}), &json!([server("s", "postgresql+asyncpg://u@db/d")]));
    object["spec"]["template"]["spec"]["initContainers"] = json!(migrations);
    let answer = ask(Endpoint::Mutate, &review(&object, None), &Policy::default());
    assert_eq!(patch_of(&answer).0.len(), 200);
    assert_eq!(rules_of(&answer).len(), REPORTED + 1);
}
