//! What Prefect finds in an environment, case by case.

use super::*;
use crate::kubernetes::object::{classify, locate};
use crate::policy::Settings as Policy;
use crate::policy::annotations::Own;
use crate::prefect::judge::UrlFault;
use crate::prefect::values::Kind;
use crate::rule::Level;
use crate::rules::Subject;

const GOOD: &str = "postgresql+asyncpg://u:p@db:5432/d";
const SERVER: &str = "PREFECT_SERVER_DATABASE_CONNECTION_URL";
const API: &str = "PREFECT_API_DATABASE_CONNECTION_URL";

/// A Deployment around the container's fields and the pod's volumes, both as JSON.
fn read(fields: &str, volumes: &str) -> Database {
    read_as(r#"["prefect","server","start"]"#, "prefecthq/prefect:3.8.8", fields, volumes)
}

fn read_as(command: &str, image: &str, fields: &str, volumes: &str) -> Database {
    let manifest = format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"p"}},"spec":{{"template":{{"spec":{{
        "containers":[{{"name":"s","image":"{image}","command":{command},{fields}}}],"volumes":[{volumes}]}}}}}}}}"#
    );
    let request = crate::review::request::Request::of_manifest(&manifest).unwrap();
    let located = locate(request.object.unwrap(), classify(&request.kind, &[]).unwrap()).unwrap();
    let workload = located.read("Deployment".into()).unwrap().unwrap();
    let own = Own::read(&workload.template.metadata.annotations, crate::rules::CATALOGUE);
    let settings = Policy::default();
    let mut subject = Subject::examine(&workload, &settings, &own, None);
    subject.servers.remove(0).database
}

/// The database of an environment of literals.
fn env(pairs: &[(&str, &str)]) -> Database {
    let list: Vec<serde_json::Value> =
        pairs.iter().map(|(name, value)| serde_json::json!({"name": name, "value": value})).collect();
    read(&format!(r#""env":{}"#, serde_json::json!(list)), "")
}

fn faults(database: &Database) -> Vec<&Fault> {
    database.problems.iter().map(|problem| &problem.fault).collect()
}

fn is_fine(database: &Database) -> bool {
    faults(database).iter().all(|fault| matches!(fault, Fault::Password | Fault::Url(UrlFault::Password)))
}

#[test]
fn the_current_name_wins_even_when_empty() {
    assert_eq!(env(&[(SERVER, GOOD), (API, "nonsense")]).target, Target::Postgres(Address::Remote));
    assert_eq!(env(&[(SERVER, ""), (API, GOOD)]).target, Target::Broken);
    assert_eq!(env(&[(API, GOOD)]).target, Target::Postgres(Address::Remote));
}

#[test]
fn components_need_a_driver() {
    let parts = [
        ("PREFECT_API_DATABASE_HOST", "db"),
        ("PREFECT_SERVER_DATABASE_USER", "u"),
        ("prefect_api_database_name", "d"),
        ("PREFECT_API_DATABASE_PASSWORD", "p@ss:w/rd#1%&?"),
    ];
    let without = env(&parts);
    assert_eq!(faults(&without).last(), Some(&&Fault::Missing(Missing::NoDriver)));
    let mut with = parts.to_vec();
    with.push(("PREFECT_SERVER_DATABASE_DRIVER", "postgresql+asyncpg"));
    let with = env(&with);
    assert_eq!(with.target, Target::Postgres(Address::Remote));
    assert!(is_fine(&with), "Prefect quotes the password of components");
}

#[test]
fn a_url_beats_components_but_bad_ones_still_stop() {
    let database = env(&[(SERVER, GOOD), ("PREFECT_SERVER_DATABASE_PORT", "tcp://10.0.0.1:5432")]);
    assert_eq!(database.target, Target::Postgres(Address::Remote));
    assert!(faults(&database).contains(&&Fault::Invalid(Invalid::Kind(Kind::Int))));
}

#[test]
fn fills_in_the_password_unquoted() {
    let url = "postgresql+asyncpg://u:${PREFECT_API_DATABASE_PASSWORD}@db/d";
    assert_eq!(
        env(&[(API, url), ("PREFECT_SERVER_DATABASE_PASSWORD", "p")]).target,
        Target::Postgres(Address::Remote)
    );
    let raw = env(&[(API, url), ("PREFECT_SERVER_DATABASE_PASSWORD", "p@ss")]);
    assert_eq!(raw.target, Target::Broken);
    assert_eq!(faults(&env(&[(API, url)])), [&Fault::Invalid(Invalid::NoPassword)]);
}

#[test]
fn a_whole_group_as_json_beats_the_rest() {
    let json = r#"{"connection_url":"mysql://h/d"}"#;
    assert_eq!(env(&[(SERVER, GOOD), ("PREFECT_SERVER_DATABASE", json)]).target, Target::Broken);
    assert!(is_fine(&env(&[(SERVER, GOOD), ("PREFECT_SERVER_DATABASE", "{}")])));
    assert!(!is_fine(&env(&[(SERVER, GOOD), ("PREFECT_SERVER_DATABASE", "postgres")])));
}

#[test]
fn a_secret_is_not_visible_and_fine() {
    let fields = |rest: &str| {
        format!(
            r#""env":[{{"name":"{SERVER}","valueFrom":{{"secretKeyRef":{{"name":"s","key":"k"{rest}}}}}}}]"#
        )
    };
    let database = read(&fields(""), "");
    assert_eq!((database.target, database.origin), (Target::NotVisible, Some(Origin::Secret)));
    assert!(database.problems.is_empty());
    assert_eq!(faults(&read(&fields(r#","optional":true"#), "")), [&Fault::Optional]);
}

#[test]
fn a_composed_url_is_judged_as_far_as_it_shows() {
    let fields = |url: &str| {
        format!(
            r#""env":[{{"name":"PW","valueFrom":{{"secretKeyRef":{{"name":"s","key":"k"}}}}}},{{"name":"{SERVER}","value":"{url}"}}]"#
        )
    };
    let good = read(&fields("postgresql+asyncpg://u:$(PW)@db:5432/d"), "");
    assert_eq!(good.target, Target::Postgres(Address::Remote));
    assert!(good.problems.is_empty());
    assert!(!is_fine(&read(&fields("postgresql://u:$(PW)@db:5432/d"), "")));
    assert_eq!(read(&fields("$(PW)"), "").target, Target::NotVisible);
    assert_eq!(read(&fields("$(PW)://u@db/d"), "").target, Target::NotVisible);
}

#[test]
fn what_stays_unexpanded_is_the_one_fault() {
    let database = env(&[(SERVER, "postgresql+asyncpg://u:p@$(DB_HOST):$(DB_PORT)/d"), ("DB_HOST", "db")]);
    let undefined = |name: &str| Fault::Undefined(Some(name.to_owned()));
    assert_eq!(
        faults(&database)[..2],
        [&undefined("DB_HOST"), &undefined("DB_PORT")],
        "`DB_HOST` is defined too late"
    );
    assert!(faults(&database)[2..].iter().all(|fault| matches!(fault, Fault::Url(UrlFault::Password))));
}

#[test]
fn injectors_fill_in_later() {
    for value in [
        "vault:secret/data/x#url",
        "op://vault/item",
        "arn:aws:secretsmanager:x",
        "ref+vault://x",
        "<path:x>",
    ] {
        let database = env(&[(SERVER, value)]);
        assert_eq!(
            (database.target, database.origin),
            (Target::NotVisible, Some(Origin::Injector)),
            "{value}"
        );
        assert!(database.problems.is_empty());
    }
}

#[test]
fn nothing_set_is_sqlite_in_the_container() {
    let database = env(&[]);
    assert_eq!(faults(&database), [&Fault::Missing(Missing::Nothing)]);
    assert!(!database.is_visibly_sqlite() && !database.is_throwaway_sqlite());
    let near = env(&[("PREFECT_DATABASE_CONNECTION_URL", GOOD)]);
    assert_eq!(near.problems[0].variable, Some(0));
}

#[test]
fn the_default_file_on_a_volume_is_a_choice() {
    let mount = r#""volumeMounts":[{"name":"h","mountPath":"/root/.prefect"}]"#;
    let database = read(mount, r#"{"name":"h","persistentVolumeClaim":{"claimName":"c"}}"#);
    assert!(database.problems.is_empty());
    assert!(database.is_visibly_sqlite() && !database.is_throwaway_sqlite());
    assert!(!read(mount, r#"{"name":"h","emptyDir":{}}"#).problems.is_empty());
}

#[test]
fn what_may_be_elsewhere_is_not_missing() {
    let origin = |fields: &str, volumes: &str| read(fields, volumes).origin;
    assert_eq!(origin(r#""envFrom":[{"secretRef":{"name":"s"}}]"#, ""), Some(Origin::EnvFrom));
    assert_eq!(
        origin(r#""envFrom":[{"prefix":"prefect_api_","secretRef":{"name":"s"}}]"#, ""),
        Some(Origin::EnvFrom)
    );
    assert_eq!(origin(r#""envFrom":[{"prefix":"AWS_","secretRef":{"name":"s"}}]"#, ""), None);
    assert_eq!(origin(r#""env":[{"name":"PREFECT_PROFILE","value":"x"}]"#, ""), Some(Origin::Profile));
    let mount =
        r#""volumeMounts":[{"name":"c","mountPath":"/opt/prefect/prefect.toml","subPath":"prefect.toml"}]"#;
    assert_eq!(origin(mount, r#"{"name":"c","configMap":{"name":"c"}}"#), Some(Origin::File));
}

#[test]
fn reads_what_a_script_exports() {
    let start = |script: &str| {
        let command = serde_json::json!(["/bin/sh", "-c", script]).to_string();
        read_as(&command, "prefecthq/prefect:3.8.8", r#""env":[]"#, "")
    };
    let literal = start(&format!("export {SERVER}={GOOD}; exec prefect server start"));
    assert_eq!(literal.target, Target::Postgres(Address::Remote));
    assert!(literal.is_only_in_script());
    let unread = start(&format!("export {SERVER}=$(cat /run/url); exec prefect server start"));
    assert_eq!(unread.target, Target::NotVisible);
    assert_eq!(faults(&unread), [&Fault::Unseen(Origin::CommandLine)]);
}

#[test]
fn reads_what_a_script_writes_into_the_profile() {
    let start = |env: &str, value: &str| {
        let script = format!("prefect config set {API}='{value}' && exec prefect server start");
        let command = serde_json::json!(["/bin/sh", "-c", script]).to_string();
        read_as(&command, "prefecthq/prefect:3.8.8", &format!(r#""env":[{env}]"#), "")
    };
    assert_eq!(start("", GOOD).target, Target::Postgres(Address::Remote));
    assert!(!is_fine(&start("", "postgresql://u:p@db/d")));
    let set = format!(r#"{{"name":"{SERVER}","value":"{GOOD}"}}"#);
    assert!(is_fine(&start(&set, "postgresql://u:p@db/d")), "the environment beats the profile");
}

#[test]
fn a_port_from_a_service_stops_the_server_too() {
    let found = env(&[(SERVER, GOOD), ("PREFECT_SERVER_API_PORT", "tcp://10.0.0.1:4200")]);
    assert!(faults(&found).contains(&&Fault::Invalid(Invalid::Kind(Kind::Int))));
    for harmless in ["PREFECT_PORT", "PREFECT_SERVER_PORT", "PREFECT_API_PORT"] {
        assert!(is_fine(&env(&[(SERVER, GOOD), (harmless, "tcp://10.0.0.1:4200")])), "{harmless}");
    }
}

#[test]
fn old_releases_read_other_names() {
    let read = |image: &str, name: &str| {
        let fields = format!(r#""env":[{{"name":"{name}","value":"{GOOD}"}}]"#);
        is_fine(&read_as(r#"["prefect","server","start"]"#, image, &fields, ""))
    };
    assert!(!read("prefecthq/prefect:3.0.10-python3.12", SERVER));
    assert!(read("prefecthq/prefect:3.0.11-python3.12", SERVER));
    assert!(read("prefecthq/prefect:3-latest", SERVER));
    assert!(read("acme/prefect:3.0.10", SERVER), "another repository may tag as it likes");
    assert!(!read("prefecthq/prefect:2.20.20", SERVER));
    assert!(read("prefecthq/prefect:2.20.20", API));
    assert!(!read("prefecthq/prefect:2.8.0", API));
    assert!(read("prefecthq/prefect:2.8.0", "PREFECT_ORION_DATABASE_CONNECTION_URL"));
    assert!(!read("prefecthq/prefect:2.14.0", "PREFECT_ORION_DATABASE_CONNECTION_URL"));
}

#[test]
fn knows_what_may_be_local() {
    for (host, local) in
        [("localhost", true), ("127.0.0.1", true), ("[::1]", true), ("", true), ("db", false)]
    {
        let database = env(&[(SERVER, &format!("postgresql+asyncpg://u:p@{host}/d"))]);
        assert_eq!(database.may_be_local(), local, "{host}");
    }
    assert!(env(&[(SERVER, "postgresql+asyncpg://u:p@/d?host=/cloudsql/p:r:i")]).may_be_local());
}

#[test]
fn every_fault_of_a_level_has_a_rule() {
    let all = crate::rules::REGISTER.iter().filter(|entry| entry.rule.id.starts_with("PSG1"));
    assert_eq!(all.filter(|entry| entry.rule.default == Level::Deny).count(), 12);
}

const CLAIM: &str = r#"{"name":"data","persistentVolumeClaim":{"claimName":"c"}}"#;
const MOUNT: &str = r#""volumeMounts":[{"name":"data","mountPath":"/data"}]"#;

#[test]
fn a_file_that_cannot_be_seen_is_lost_where_no_volume_keeps_any() {
    let pod = r#"{"name":"POD","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}"#;
    let home = r#"{"name":"PREFECT_HOME","value":"/data/$(POD)"}"#;
    let from = r#"{"name":"PREFECT_HOME","valueFrom":{"configMapKeyRef":{"name":"c","key":"k"}}}"#;
    let user = r#"{"name":"HOME","valueFrom":{"configMapKeyRef":{"name":"c","key":"k"}}}"#;
    let url = format!(r#"{{"name":"{SERVER}","value":"sqlite+aiosqlite:////data/$(POD).db"}}"#);
    let lost = [
        String::new(),
        r#"{"name":"data","emptyDir":{}}"#.to_owned(),
        r#"{"name":"data","gitRepo":{"repository":"r"}}"#.to_owned(),
    ];
    for variable in [home, from, user, url.as_str()] {
        let fields = |mount: &str| format!(r#""env":[{pod},{variable}],{mount}"#);
        for volume in &lost {
            let mount = if volume.is_empty() { r#""volumeMounts":[]"# } else { MOUNT };
            let database = read(&fields(mount), volume);
            let Target::Sqlite { backing, .. } = database.target else { panic!("{:?}", database.target) };
            assert_eq!(backing, Backing::None, "{variable} {volume}");
            let missing = faults(&database).contains(&&Fault::Missing(Missing::Nothing));
            assert_eq!(missing, variable != url, "{variable} {volume}");
        }
        let csi = r#"{"name":"data","csi":{"driver":"d"}}"#;
        for volume in [CLAIM, csi] {
            let database = read(&fields(MOUNT), volume);
            assert_eq!(faults(&database), [&Fault::UnseenFile], "{variable} {volume}");
        }
    }
}

#[test]
fn a_group_as_json_takes_the_url_back() {
    let nulls = [
        ("PREFECT_SERVER_DATABASE", r#"{"connection_url":null}"#),
        ("PREFECT_SERVER", r#"{"database":{"connection_url":null}}"#),
    ];
    for (name, json) in nulls {
        for url in [SERVER, API] {
            let database = env(&[(url, GOOD), (name, json)]);
            assert_eq!(faults(&database), [&Fault::Missing(Missing::TakenBack)], "{name} {url}");
        }
        let components = [
            (name, json),
            (SERVER, GOOD),
            ("PREFECT_SERVER_DATABASE_DRIVER", "postgresql+asyncpg"),
            ("PREFECT_SERVER_DATABASE_HOST", "localhost"),
            ("PREFECT_SERVER_DATABASE_USER", "u"),
            ("PREFECT_SERVER_DATABASE_NAME", "d"),
        ];
        assert_eq!(env(&components).target, Target::Postgres(Address::Loopback));
    }
    // The outer group beats the inner one, and what is not there takes nothing back.
    let inner = ("PREFECT_SERVER_DATABASE", r#"{"connection_url":null}"#);
    let outer = ("PREFECT_SERVER", r#"{"database":{"connection_url":"postgresql+asyncpg://u@db/d"}}"#);
    assert_eq!(env(&[inner, outer]).target, Target::Postgres(Address::Remote));
    for json in ["null", "{}", r#"{"timeout":NaN}"#, r#"{"timeout":1e999,"echo":true}"#] {
        let database = env(&[(SERVER, GOOD), ("PREFECT_SERVER_DATABASE", json)]);
        assert!(is_fine(&database), "{json}: {:?}", faults(&database));
    }
    let nothing = env(&[("PREFECT_SERVER_DATABASE", r#"{"timeout":5}"#)]);
    assert_eq!(faults(&nothing), [&Fault::Missing(Missing::Nothing)]);
}

#[test]
fn what_a_script_or_a_file_may_hold_is_not_missed() {
    let command = r#"["sh","-c",". /vault/secrets/db; exec prefect server start"]"#;
    let password = format!(
        r#""env":[{{"name":"{SERVER}","value":"postgresql+asyncpg://u:${{PREFECT_SERVER_DATABASE_PASSWORD}}@h/d"}}]"#
    );
    let parts = ["DRIVER", "HOST", "NAME"].map(|part| {
        let value = if part == "DRIVER" { "postgresql+asyncpg" } else { "x" };
        format!(r#"{{"name":"PREFECT_SERVER_DATABASE_{part}","value":"{value}"}}"#)
    });
    let components = format!(r#""env":[{}]"#, parts.join(","));
    let unseen = Fault::Unseen(Origin::CommandLine);
    for fields in [&password, &components] {
        let database = read_as(command, "prefecthq/prefect:3.8.8", fields, "");
        assert_eq!(faults(&database), [&unseen], "{fields}");
        assert!(database.is_only_in_script());
        let plain = read(fields, "");
        assert!(matches!(faults(&plain)[..], [Fault::Invalid(_)]), "{fields}");
        let mounted = format!(r#"{fields},"volumeMounts":[{{"name":"s","mountPath":"/opt/prefect/.env"}}]"#);
        assert_eq!(faults(&read(&mounted, "")), [&Fault::Unseen(Origin::File)], "{fields}");
    }
    let json = r#"{"name":"PREFECT_SERVER_DATABASE","value":"{\"password\":\"x\",\"user\":\"u\"}"}"#;
    for fields in [&password, &components] {
        let with_json = fields.replace("]", &format!(",{json}]"));
        assert!(is_fine(&read(&with_json, "")), "{:?}", faults(&read(&with_json, "")));
    }
}

#[test]
fn what_asyncpg_reads_beside_the_url() {
    let of = |url: &str, name: &str, value: &str| {
        let database = env(&[(SERVER, url), (name, value)]);
        faults(&database).into_iter().any(|fault| matches!(fault, Fault::Invalid(_)))
    };
    let plain = "postgresql+asyncpg://u@db/d";
    for value in ["x", "5432,5433", "5432.0", "99999", "-1", "tcp://10.0.0.1:5432"] {
        assert!(of(plain, "PGPORT", value), "{value}");
        assert!(!of("postgresql+asyncpg://u@db:5432/d", "PGPORT", value), "{value}");
        assert!(!of("postgresql+asyncpg://u@/d?host=db&port=5432", "PGPORT", value), "{value}");
    }
    for value in ["5432", "", " 5_432", "0"] {
        assert!(!of(plain, "PGPORT", value), "{value}");
    }
    for value in ["", "bogus", "Require", " require"] {
        assert!(of(plain, "PGSSLMODE", value), "{value}");
        assert!(!of("postgresql+asyncpg://u@db/d?ssl=require", "PGSSLMODE", value), "{value}");
    }
    assert!(!of(plain, "PGSSLMODE", "verify-full") && !of(plain, "pgport", "x"));
    let tls = ("PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_ENABLED", "true");
    assert!(is_fine(&env(&[(SERVER, plain), ("PGSSLMODE", "x"), tls])));
}
