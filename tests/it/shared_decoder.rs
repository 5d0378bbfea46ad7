//! Our reading of JSON beside that of Go's decoder, which the API server and everybody after us use.
//!
//! The API server reads an object, drops what it does not know, and writes it anew before a webhook sees it: keys
//! stand once, numbers are plain. A client that talks to us directly may send anything. Where Go and we could read
//! one text in two ways, ours is refused or reads as Go's does; it never judges something else than what would run.

use crate::support::generate::{object_of, review};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prefect_guard::answer::answer;
use prefect_guard::decision::Endpoint;
use prefect_guard::policy::Policy;
use serde_json::{Value, json};

const GOOD: &str = r#"{"name":"PREFECT_API_DATABASE_CONNECTION_URL","valueFrom":{"secretKeyRef":{"name":"db","key":"url"}}}"#;

/// A server as text, so that its keys can be doubled; `{}` in it is replaced.
fn server(container: &str) -> String {
    let text = review(&object_of(0, json!({"spec": {"containers": "HERE"}})), None);
    String::from_utf8(text).expect("UTF-8").replace(
        "\"HERE\"",
        &format!("[{{\"name\":\"api\",\"image\":\"prefecthq/prefect:3.8.8\",{container}}}]"),
    )
}

/// How `/validate` ends: the HTTP status, whether it allows, and the rules that deny.
fn verdict(body: &str) -> (u16, Option<bool>, Vec<String>) {
    for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
        let answer = answer(endpoint, body.as_bytes(), &Policy::default());
        let json: Value = serde_json::from_slice(&answer.body).expect("JSON");
        if endpoint == Endpoint::Validate {
            let causes =
                json["response"]["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
            // These containers have no setting; that is not the question here.
            let ids = causes.iter().map(|cause| cause["reason"].as_str().expect("an id").to_owned());
            let rules = ids.filter(|id| id != "PSG101").collect();
            return (answer.status, json["response"]["allowed"].as_bool(), rules);
        }
        assert!(answer.status == 400 || json["response"]["allowed"] == true, "mutate never denies");
    }
    unreachable!("the second endpoint returns")
}

/// What the API server would make of it: the last of doubled keys counts.
fn denied_or_refused(body: &str) {
    let (status, allowed, _) = verdict(body);
    assert!(status == 400 || allowed == Some(false), "let pass: {body}");
}

#[test]
fn the_first_of_two_keys_never_counts() {
    let reset = r#""command":["prefect","server","database","reset","-y"]"#;
    let sleep = r#""command":["sleep","1"]"#;
    denied_or_refused(&server(&format!("{sleep},{reset}")));
    denied_or_refused(&server(&format!("\"env\":[{GOOD}],{sleep},\"args\":[],{reset}")));
    let url = |first: &str, last: &str| {
        server(&format!(
            "\"command\":[\"prefect\",\"server\",\"start\"],\"env\":[{{\"name\":\"PREFECT_API_DATABASE_CONNECTION_URL\",\"value\":\"{first}\",\"value\":\"{last}\"}}]"
        ))
    };
    denied_or_refused(&url("postgresql+asyncpg://u:p@h:5432/d", "postgresql://u:p@h/d"));
    let whole = server(reset);
    let spec = "\"spec\":{\"replicas\":2";
    assert!(whole.contains(spec), "the object has the shape this test doubles");
    denied_or_refused(&whole.replacen(
        spec,
        "\"spec\":{\"template\":{\"spec\":{\"containers\":[]}},\"replicas\":2",
        1,
    ));
    denied_or_refused(&whole.replacen("\"object\":", "\"object\":null,\"object\":", 1));
    denied_or_refused(&whole.replacen(
        "\"operation\":\"CREATE\"",
        "\"operation\":\"DELETE\",\"operation\":\"CREATE\"",
        1,
    ));
}

#[test]
fn doubled_keys_are_read_alike_however_the_review_is_written() {
    let reset = server(r#""command":["prefect","server","database","reset","-y"]"#);
    let fits = r#"{"spec":{"containers":[]}}"#;
    let spec = "\"spec\":{\"replicas\":2";
    let object = |with: &str| reset.replacen(spec, &format!("{with},{spec}"), 1);
    let template = |with: &str| reset.replacen(spec, &format!("\"spec\":{{{with},\"replicas\":2"), 1);
    let last = |with: &str| reset.replacen("}},\"oldObject\"", &format!("}},{with}}},\"oldObject\""), 1);
    let mut bodies = vec![reset.replacen("\"uid\"", "\"u\\u0069d\"", 1)];
    for odd in
        ["null", "1", "[]", "{}", fits, r#"{"spec":1}"#, r#"{"spec":{"containers":[{"name":"\ud800"}]}}"#]
    {
        bodies.push(template(&format!("\"template\":{odd}")));
        bodies.push(template(&format!("\"templ\\u0061te\":{odd}")));
        bodies.push(object(&format!("\"spec\":{odd}")));
        bodies.push(object(&format!("\"spec\":{{\"template\":{odd}}}")));
        bodies.push(last(&format!("\"template\":{odd}")));
        bodies.push(last(&format!("\"template\":{fits},\"template\":{odd}")));
        bodies.push(last(&format!("\"template\":{odd},\"x\":\"\t\"")));
    }
    for body in bodies {
        assert_ne!(body, reset, "the object has the shape this test doubles");
        for endpoint in [Endpoint::Mutate, Endpoint::Validate] {
            // White space means nothing.
            let [quick, slow] = [body.clone(), format!(" {body}")]
                .map(|body| answer(endpoint, body.as_bytes(), &Policy::default()));
            assert_eq!(quick.status, slow.status, "{body}");
            let same = quick.status == 400 || quick.body == slow.body;
            assert!(same, "{body}\n{}\n{}", quick.body.escape_ascii(), slow.body.escape_ascii());
        }
    }
}

#[test]
fn a_key_that_means_no_text_hides_nothing_behind_it() {
    let reset = server(r#""command":["prefect","server","database","reset","-y"]"#);
    for (before, place) in [("\"object\":{", "the object"), ("\"spec\":{\"replicas\"", "its spec")] {
        assert!(reset.contains(before), "{place}");
        let odd = before.replacen('{', "{\"\\ud800\":1,", 1);
        denied_or_refused(&reset.replacen(before, &odd, 1));
    }
}

#[test]
fn the_last_of_two_annotations_counts_and_so_does_the_last_exemption() {
    let text = server(r#""command":["prefect","server","database","reset","-y"]"#);
    let with = |annotations: &str| {
        text.replacen(
            "\"template\":{",
            &format!("\"template\":{{\"metadata\":{{\"annotations\":{{{annotations}}}}},"),
            1,
        )
    };
    let allow = r#""prefect-guard.io/allow":"PSG203""#;
    let other = r#""prefect-guard.io/allow":"PSG302""#;
    assert_eq!(verdict(&with(&format!("{other},{allow}"))).2, Vec::<String>::new());
    assert_eq!(verdict(&with(&format!("{allow},{other}"))).2, ["PSG203"]);
}

#[test]
fn letters_behind_escapes_are_letters() {
    for spelt in [r"\u0070refect", r"pref\u0065ct", r"\u0070\u0072\u0065\u0066\u0065\u0063\u0074"] {
        let body = server(&format!("\"command\":[\"{spelt}\",\"server\",\"database\",\"reset\"]"));
        let body = body.replace("prefecthq/prefect:3.8.8", "mirror/tools:1").replace("\"prefect\"", "\"x\"");
        assert!(!body.contains("prefect"), "the word stands nowhere in plain letters");
        assert_eq!(verdict(&body).2, ["PSG203"], "{spelt}");
    }
    let key = server(r#""comm\u0061nd":["prefect","server","database","reset"]"#);
    assert_eq!(verdict(&key).2, ["PSG203"]);
}

#[test]
fn names_of_fields_are_read_in_their_own_case_alone() {
    // `sigs.k8s.io/json`, which the API server uses, is case-sensitive; `encoding/json` is not.
    let body = server(r#""Command":["prefect","server","database","reset","-y"]"#);
    assert_eq!(verdict(&body), (200, Some(true), vec![]));
}

#[test]
fn odd_numbers_neither_stop_us_nor_hide_anything() {
    let text = server(r#""command":["prefect","server","database","reset","-y"]"#);
    for number in
        ["1e0", "1.0", "-0", "99999999999999999999", "1e400", "0.1e-400", "\"2\"", "null", "[]", "{}"]
    {
        let body = text.replacen("\"replicas\":2", &format!("\"replicas\":{number}"), 1);
        assert_eq!(verdict(&body).2, ["PSG203"], "{number}");
    }
    for broken in ["01", "+1", "NaN", ".5", "1.", "0x1", "Infinity"] {
        let body = text.replacen("\"replicas\":2", &format!("\"replicas\":{broken}"), 1);
        assert_eq!(verdict(&body).0, 400, "{broken}");
    }
}

#[test]
fn broken_text_is_refused_and_never_half_read() {
    let text = server(r#""command":["prefect","server","database","reset","-y"]"#);
    assert_eq!(verdict(&format!("{text} {text}")).0, 400, "two documents");
    assert_eq!(verdict(&format!("\u{feff}{text}")).0, 400, "a byte order mark");
    assert_eq!(verdict(&text.replacen("reset", "re\tset", 1)).0, 400, "a raw control character in a string");
    denied_or_refused(
        &text
            .replacen("reset", "reset\\ud800", 1)
            .replacen("-y", "\\ud800", 1)
            .replace("reset\\ud800", "reset"),
    );
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = text.replacen("\"replicas\":2", &format!("\"replicas\":2,\"deep\":{deep}"), 1);
    assert_eq!(verdict(&body).2, ["PSG203"], "what is not read may be as deep as it likes");
    let body = text.replacen("\"-y\"", &deep, 1);
    denied_or_refused(&body);
}

#[test]
fn what_is_copied_is_copied_byte_for_byte() {
    let odd = r#"{"name":"A","value":"\u0041\/","more":12345678901234567890123,"more":[1.0, -0]}"#;
    let resources = r#"{"limits":{"cpu":1.0,"memory":1e400}}"#;
    let body = server(&format!(
        r#""command":["prefect","server","start"],"resources":{resources},"env":[{GOOD},{odd}]"#
    ));
    let answer = answer(Endpoint::Mutate, body.as_bytes(), &Policy::default());
    let json: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let patch = STANDARD.decode(json["response"]["patch"].as_str().expect("a patch")).expect("base64");
    let patch = String::from_utf8(patch).expect("UTF-8");
    for text in [odd, resources, GOOD] {
        assert!(patch.contains(text), "{text} is not in {patch}");
    }
}
