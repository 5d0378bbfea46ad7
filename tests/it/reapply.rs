//! What becomes of the injected container over a workload's life: `kubectl apply`, server-side apply, `replace`,
//! `set image`, `rollout undo`, other webhooks.
//!
//! The API server is played by a few functions here: merging by key, defaulting, then our two endpoints. What they
//! imitate was seen on a real 1.36 API server; the injected container belongs to no field manager there, so it stays
//! in the live object until somebody replaces the whole list.

use crate::support::generate::{OURS, reordered, review};
use crate::support::{ask, json_files, mutated, patch_of, root, rules_of};
use prefect_guard::decision::Endpoint;
use prefect_guard::decision::annotation::{CHECKED_BY, FINDINGS};
use prefect_guard::policy::Policy;
use serde_json::{Value, json};

/// A Deployment as its author has it in Git.
fn manifest() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "prefect", "namespace": "data"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "prefect"}}, "template": {
            "metadata": {"labels": {"app": "prefect"}},
            "spec": {
                "initContainers": [{"name": "wait-for-db", "image": "busybox:1.37", "command": ["sh", "-c", "nc -z db 5432"]}],
                "containers": [
                    {
                        "name": "api", "image": "prefecthq/prefect:3.8.8-python3.12",
                        "args": ["prefect", "server", "start", "--host", "0.0.0.0"],
                        "env": [
                            {"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL",
                             "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}},
                            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        ],
                        "volumeMounts": [{"name": "home", "mountPath": "/root/.prefect"}, {"name": "ca", "mountPath": "/ca"}],
                        "resources": {"limits": {"memory": "1Gi"}},
                    },
                    {"name": "metrics", "image": "prom/statsd-exporter:v0.28.0"},
                ],
                "volumes": [{"name": "home", "emptyDir": {}}, {"name": "ca", "secret": {"secretName": "ca"}}],
            },
        }},
    })
}

/// What the API server fills in, on the way in and again after our patch.
fn defaulted(mut object: Value) -> Value {
    let spec = &mut object["spec"]["template"]["spec"];
    let fill = |map: &mut Value, key: &str, value: Value| {
        let map = map.as_object_mut().expect("an object");
        if !map.contains_key(key) {
            map.insert(key.to_owned(), value);
        }
    };
    fill(spec, "restartPolicy", json!("Always"));
    fill(spec, "schedulerName", json!("default-scheduler"));
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            fill(container, "terminationMessagePath", json!("/dev/termination-log"));
            fill(container, "terminationMessagePolicy", json!("File"));
            fill(container, "imagePullPolicy", json!("IfNotPresent"));
            fill(container, "resources", json!({}));
            for variable in container["env"].as_array_mut().into_iter().flatten() {
                if let Some(reference) = variable.pointer_mut("/valueFrom/fieldRef") {
                    fill(reference, "apiVersion", json!("v1"));
                }
            }
        }
        if spec[list].is_null() {
            spec.as_object_mut().expect("an object").shift_remove(list);
        }
    }
    object
}

/// The key by which a list of the pod spec is merged.
fn merge_key(path: &str) -> Option<&'static str> {
    match path {
        "containers" | "initContainers" | "volumes" | "env" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        _ => None,
    }
}

/// Where new entries of a merged list land; the two kinds of apply differ.
#[derive(Clone, Copy)]
enum Land {
    AtTheEnd,
    BeforeWhatOnlyTheServerHas,
}

/// Three-way merge: what `last` had and `next` has not goes, what `next` has comes, the rest of `live` stays.
fn merge(live: &Value, last: &Value, next: &Value, path: &str, land: Land) -> Value {
    match (live, next, merge_key(path)) {
        (Value::Object(live), Value::Object(next), _) => {
            let mut merged = live.clone();
            merged.retain(|key, _| last.get(key).is_none() || next.contains_key(key));
            for (key, value) in next {
                let before = live.get(key).unwrap_or(&Value::Null);
                let value = merge(before, last.get(key).unwrap_or(&Value::Null), value, key, land);
                merged.insert(key.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(live), Value::Array(next), Some(by)) => {
            let find = |list: &[Value], name: &Value| list.iter().find(|entry| &entry[by] == name).cloned();
            let last = last.as_array().map_or(&[][..], Vec::as_slice);
            let mut merged: Vec<Value> = live
                .iter()
                .filter(|e| find(last, &e[by]).is_none() || find(next, &e[by]).is_some())
                .cloned()
                .collect();
            for entry in next {
                let old = find(last, &entry[by]).unwrap_or_default();
                match merged.iter().position(|known| known[by] == entry[by]) {
                    Some(at) => merged[at] = merge(&merged[at].clone(), &old, entry, "", land),
                    None => {
                        let own = |e: &Value| find(next, &e[by]).is_none();
                        let at = match land {
                            Land::AtTheEnd => merged.len(),
                            Land::BeforeWhatOnlyTheServerHas => {
                                merged.iter().position(own).unwrap_or(merged.len())
                            }
                        };
                        merged.insert(at, entry.clone());
                    }
                }
            }
            Value::Array(merged)
        }
        _ => next.clone(),
    }
}

/// A cluster with one workload in it.
struct Cluster {
    live: Value,
    last: Value,
    policy: Policy,
    /// How often the template changed.
    generation: usize,
}

impl Cluster {
    fn create(manifest: &Value) -> Self {
        Self::create_under(manifest, Policy::default())
    }

    fn create_under(manifest: &Value, policy: Policy) -> Self {
        let live = defaulted(mutated(&review(&defaulted(manifest.clone()), None), &policy));
        let cluster = Cluster { live, last: manifest.clone(), policy, generation: 1 };
        cluster.expect_good(&cluster.live, None);
        cluster
    }

    /// The final object is valid, and a second round of mutation has nothing to add.
    fn expect_good(&self, object: &Value, old: Option<&Value>) {
        let body = review(object, old);
        let verdict = ask(Endpoint::Validate, &body, &self.policy);
        assert_eq!(verdict["allowed"], true, "{}", verdict["status"]["message"]);
        assert_eq!(
            patch_of(&ask(Endpoint::Mutate, &body, &self.policy)).0.len(),
            0,
            "mutate wants still more"
        );
    }

    fn update(&mut self, object: Value) -> &mut Self {
        let object = defaulted(object);
        let after = defaulted(mutated(&review(&object, Some(&self.live)), &self.policy));
        self.expect_good(&after, Some(&self.live));
        self.generation += usize::from(after["spec"]["template"] != self.live["spec"]["template"]);
        self.live = after;
        self
    }

    fn apply(&mut self, next: &Value) -> &mut Self {
        self.apply_landing(next, Land::AtTheEnd)
    }

    fn apply_landing(&mut self, next: &Value, land: Land) -> &mut Self {
        let merged = merge(&self.live, &self.last, next, "", land);
        self.last = next.clone();
        self.update(merged)
    }

    fn replace(&mut self, next: &Value) -> &mut Self {
        self.last = next.clone();
        self.update(next.clone())
    }

    fn edit(&mut self, change: impl FnOnce(&mut Value)) -> &mut Self {
        let mut object = self.live.clone();
        change(&mut object["spec"]["template"]["spec"]);
        self.update(object)
    }

    fn inits(&self) -> Vec<&str> {
        let list = self.live["spec"]["template"]["spec"]["initContainers"].as_array();
        list.into_iter().flatten().map(|container| container["name"].as_str().expect("a name")).collect()
    }

    fn ours(&self) -> &Value {
        let list =
            self.live["spec"]["template"]["spec"]["initContainers"].as_array().expect("initContainers");
        list.iter().find(|container| container["name"] == OURS).expect("our container")
    }
}

fn spec(manifest: &mut Value) -> &mut Value {
    &mut manifest["spec"]["template"]["spec"]
}

#[test]
fn the_same_manifest_over_and_over_changes_nothing() {
    let mut manifests = vec![manifest()];
    let mut bare = manifest();
    spec(&mut bare).as_object_mut().expect("an object").shift_remove("initContainers");
    manifests.push(bare);
    for (name, body) in json_files(&root().join("tests/fixtures/reviews")) {
        let review: Value = serde_json::from_slice(&body).expect("JSON");
        let object = &review["request"]["object"];
        if name.starts_with("create") && matches!(object["kind"].as_str(), Some("Deployment" | "StatefulSet"))
        {
            manifests.push(object.clone());
        }
    }
    assert!(manifests.len() >= 5, "the recorded reviews are there");
    for manifest in manifests {
        let mut cluster = Cluster::create(&manifest);
        let template = cluster.live["spec"]["template"].clone();
        cluster.apply(&manifest).apply_landing(&manifest, Land::BeforeWhatOnlyTheServerHas);
        cluster.replace(&manifest).apply(&reordered(&manifest)).replace(&reordered(&manifest));
        assert_eq!(cluster.live["spec"]["template"], template);
        assert_eq!(cluster.generation, 1);
    }
}

#[test]
fn the_script_of_an_earlier_release_stays_until_the_template_changes() {
    const PUBLISHED: &str = include_str!("../../src/migration/script/published/0.1.0.py");
    let script = |ours: &Value| {
        let words = ["command", "args"].into_iter().filter_map(|key| ours[key].as_array()).flatten();
        words.filter_map(Value::as_str).find(|word| word.contains("prefectg")).map(str::to_owned)
    };
    let mut cluster = Cluster::create(&manifest());
    assert_eq!(script(cluster.ours()).as_deref(), Some(prefect_guard::migration::script::SCRIPT));
    cluster.edit(|spec| {
        let ours = spec["initContainers"].as_array_mut().expect("a list").iter_mut();
        for word in ours.flat_map(|container| container.as_object_mut().expect("an object").values_mut()) {
            for word in word.as_array_mut().into_iter().flatten() {
                if word.as_str() == Some(prefect_guard::migration::script::SCRIPT) {
                    *word = json!(PUBLISHED);
                }
            }
        }
    });
    let template = cluster.live["spec"]["template"].clone();
    assert_eq!(script(cluster.ours()).as_deref(), Some(PUBLISHED));
    cluster.apply(&manifest()).replace(&manifest());
    assert_eq!(cluster.live["spec"]["template"], template);
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:3.9.0-python3.12"));
    assert_eq!(script(cluster.ours()).as_deref(), Some(prefect_guard::migration::script::SCRIPT));
}

#[test]
fn an_exempted_server_is_not_stopped_by_its_migration() {
    let exempted = |allow: bool| {
        let mut manifest = manifest();
        if allow {
            manifest["spec"]["template"]["metadata"]["annotations"]["prefect-guard.io/allow"] =
                json!("PSG101");
        }
        Cluster::create(&manifest).ours().to_string().contains("--on-sqlite=continue")
    };
    assert!(exempted(true) && !exempted(false));
}

#[test]
fn a_new_image_is_followed_whoever_sets_it() {
    let mut cluster = Cluster::create(&manifest());
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:3.9.0-python3.12"));
    assert_eq!(cluster.ours()["image"], "prefecthq/prefect:3.9.0-python3.12");
    assert_eq!(cluster.generation, 2);
    cluster.apply(&manifest());
    assert_eq!(cluster.ours()["image"], "prefecthq/prefect:3.8.8-python3.12");
    // `kubectl set image deployment/prefect '*=…'` names ours too.
    cluster.edit(|spec| {
        spec["initContainers"][1]["image"] = json!("prefecthq/prefect:4");
        spec["containers"][0]["image"] = json!("prefecthq/prefect:4");
    });
    assert_eq!(cluster.ours()["image"], "prefecthq/prefect:4");
    cluster.edit(|spec| spec["initContainers"][1]["image"] = json!("busybox"));
    assert_eq!(cluster.ours()["image"], "prefecthq/prefect:4");
}

#[test]
fn a_changed_setting_is_followed() {
    let mut next = manifest();
    let server = &mut spec(&mut next)["containers"][0];
    server["env"][0]["valueFrom"]["secretKeyRef"]["name"] = json!("other");
    server["env"].as_array_mut().expect("env").insert(0, json!({"name": "LEVEL", "value": "DEBUG"}));
    for land in [Land::AtTheEnd, Land::BeforeWhatOnlyTheServerHas] {
        let mut cluster = Cluster::create(&manifest());
        cluster.apply_landing(&next, land);
        assert_eq!(cluster.ours()["env"], cluster.live["spec"]["template"]["spec"]["containers"][0]["env"]);
        cluster.apply_landing(&manifest(), land);
        assert_eq!(cluster.ours()["env"].as_array().map(Vec::len), Some(2), "nothing stays behind");
    }
}

#[test]
fn another_order_of_the_variables_is_followed() {
    let mut cluster = Cluster::create(&manifest());
    cluster.edit(|spec| {
        let env = spec["containers"][0]["env"].as_array_mut().expect("env");
        env.reverse();
    });
    assert_eq!(cluster.ours()["env"][0]["name"], "POD");
}

#[test]
fn a_removed_volume_takes_our_mount_with_it() {
    let mut next = manifest();
    let pod = spec(&mut next);
    pod["volumes"].as_array_mut().expect("volumes").remove(1);
    pod["containers"][0]["volumeMounts"].as_array_mut().expect("mounts").remove(1);
    let mut cluster = Cluster::create(&manifest());
    cluster.apply(&next);
    assert_eq!(cluster.ours()["volumeMounts"].as_array().map(Vec::len), Some(1));
    let mut cluster = Cluster::create(&manifest());
    cluster.replace(&next);
    assert_eq!(cluster.ours()["volumeMounts"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_new_security_context_and_new_limits_are_followed() {
    let mut next = manifest();
    spec(&mut next)["containers"][0]["securityContext"] = json!({"runAsUser": 1001});
    spec(&mut next)["containers"][0]["resources"] = json!({"limits": {"memory": "2Gi"}});
    let mut cluster = Cluster::create(&manifest());
    cluster.apply(&next);
    assert_eq!(cluster.ours()["securityContext"], json!({"runAsUser": 1001}));
    assert_eq!(cluster.ours()["resources"], json!({"limits": {"memory": "2Gi"}}));
}

#[test]
fn a_new_init_container_behind_ours_moves_ours_back_to_the_end() {
    let mut next = manifest();
    let inits = spec(&mut next)["initContainers"].as_array_mut().expect("initContainers");
    inits.push(json!({"name": "fetch-ca", "image": "curlimages/curl:8.17.0", "command": ["true"]}));
    for land in [Land::AtTheEnd, Land::BeforeWhatOnlyTheServerHas] {
        let mut cluster = Cluster::create(&manifest());
        let ours = cluster.ours().clone();
        cluster.apply_landing(&next, land);
        assert_eq!(cluster.inits(), ["wait-for-db", "fetch-ca", OURS]);
        assert_eq!(cluster.ours(), &ours, "a move keeps what was there");
        cluster.apply_landing(&manifest(), land);
        assert_eq!(cluster.inits(), ["wait-for-db", OURS]);
        assert_eq!(cluster.generation, 3);
    }
}

#[test]
fn the_position_annotation_is_followed() {
    let mut next = manifest();
    next["spec"]["template"]["metadata"]["annotations"] =
        json!({"prefect-guard.io/position": "before:wait-for-db"});
    let mut cluster = Cluster::create(&manifest());
    cluster.apply(&next);
    assert_eq!(cluster.inits(), [OURS, "wait-for-db"]);
    cluster.apply(&next);
    assert_eq!(cluster.generation, 2);
}

#[test]
fn what_another_webhook_adds_to_ours_is_left_alone() {
    let mut cluster = Cluster::create(&manifest());
    let ours = cluster.live["spec"]["template"]["spec"]["initContainers"][1].as_object_mut().expect("ours");
    ours.insert("securityContext".to_owned(), json!({"allowPrivilegeEscalation": false}));
    let env = ours["env"].as_array_mut().expect("env");
    env.insert(0, json!({"name": "HTTPS_PROXY", "value": "http://proxy:3128"}));
    env.push(json!({"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "x=y"}));
    let mounts = ours["volumeMounts"].as_array_mut().expect("mounts");
    mounts.push(json!({"name": "home", "mountPath": "/injected"}));
    ours["resources"] = json!({"limits": {"memory": "1Gi"}, "requests": {"cpu": "10m"}});
    let changed = cluster.live.clone();
    cluster.expect_good(&changed, None);
    let mut labelled = manifest();
    labelled["spec"]["template"]["metadata"]["labels"]["tier"] = json!("data");
    cluster.apply(&labelled);
    assert_eq!(cluster.ours(), &changed["spec"]["template"]["spec"]["initContainers"][1]);
}

#[test]
fn a_variable_that_would_redirect_the_migration_is_not_left_alone() {
    let url = "postgresql+asyncpg://prefect:$(DB_PASSWORD)@$(DB_HOST):5432/prefect";
    let mut manifest = manifest();
    spec(&mut manifest)["containers"][0]["env"] = json!([
        {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "DB_HOST", "value": "db.prod"},
        {"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "value": url},
    ]);
    let good = Cluster::create(&manifest).ours()["env"].clone();
    for (at, name) in [(2, "DB_HOST"), (1, "DB_PASSWORD"), (0, "prefect_server_database_connection_url")] {
        let mut cluster = Cluster::create(&manifest);
        cluster.edit(|spec| {
            let env = spec["initContainers"][1]["env"].as_array_mut().expect("env");
            env.insert(at, json!({"name": name, "value": "db.test"}));
        });
        assert_eq!(cluster.ours()["env"], good, "{name}");
    }
}

#[test]
fn a_wrapper_before_our_command_stays_but_a_muzzle_goes() {
    let wrap = |words: &[&str]| {
        let mut cluster = Cluster::create(&manifest());
        let before = cluster.ours().clone();
        cluster.edit(|spec| {
            let ours = &mut spec["initContainers"][1];
            let mut line: Vec<Value> = words.iter().map(|word| json!(word)).collect();
            line.extend(ours["args"].as_array().expect("args").iter().cloned());
            ours["command"] = line.into();
            ours.as_object_mut().expect("ours").shift_remove("args");
        });
        *cluster.ours() == before
    };
    assert!(!wrap(&["/vault/vault-env"]));
    assert!(!wrap(&["tini", "--"]));
    for muzzle in [
        &["echo"][..],
        &["true"],
        &["sh", "-c", "exit 0", "--"],
        &["sh", "-c", "prefect server database reset -y", "--"],
    ] {
        assert!(wrap(muzzle), "{muzzle:?} was kept");
    }
}

#[test]
fn deleting_ours_brings_it_back_as_it_was() {
    let mut cluster = Cluster::create(&manifest());
    let ours = cluster.ours().clone();
    cluster.edit(|spec| {
        spec["initContainers"].as_array_mut().expect("initContainers").pop();
    });
    assert_eq!((cluster.ours(), cluster.generation), (&ours, 1));
}

#[test]
fn rollout_undo_brings_the_old_template_back_exactly() {
    let mut cluster = Cluster::create(&manifest());
    let old = cluster.live["spec"]["template"].clone();
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:3.9.0-python3.12"));
    let mut undone = cluster.live.clone();
    undone["spec"]["template"] = old.clone();
    cluster.update(undone);
    assert_eq!(cluster.live["spec"]["template"], old);
}

#[test]
fn opting_out_takes_ours_away_and_opting_in_brings_it_back() {
    let mut out = manifest();
    out["spec"]["template"]["metadata"]["annotations"] = json!({"prefect-guard.io/inject": "false"});
    let mut cluster = Cluster::create(&manifest());
    cluster.apply(&out);
    assert_eq!(cluster.inits(), ["wait-for-db"]);
    let verdict = ask(Endpoint::Validate, &review(&cluster.live, None), &cluster.policy);
    assert!(rules_of(&verdict).contains(&"PSG201".to_owned()), "{verdict}");
    cluster.apply(&manifest());
    assert_eq!(cluster.inits(), ["wait-for-db", OURS]);
}

#[test]
fn what_is_left_to_say_stands_on_the_object_and_goes_with_it() {
    let findings = |cluster: &Cluster| {
        let own = &cluster.live["metadata"]["annotations"];
        assert_eq!(own.get(FINDINGS).is_some(), own.get(CHECKED_BY).is_some());
        own[FINDINGS].as_str().map(str::to_owned)
    };
    // One replica: several would have a finding of their own.
    let mut plain = manifest();
    plain["spec"]["replicas"] = json!(1);
    let mut out = plain.clone();
    out["metadata"]["annotations"] = json!({"team": "data", FINDINGS: "all is well"});
    out["spec"]["template"]["metadata"]["annotations"] = json!({"prefect-guard.io/inject": "false"});
    let mut cluster = Cluster::create(&out);
    let first = findings(&cluster).expect("why nothing was injected");
    assert!(first.starts_with("PSG201 ") && first.contains("inject: \"false\""), "{first}");
    assert!(cluster.live["spec"]["template"]["metadata"]["annotations"].get(FINDINGS).is_none());
    // Git holds nothing of it: both kinds of apply leave it where it is, and no pod restarts.
    out["metadata"]["annotations"] = json!({"team": "data"});
    cluster.last = out.clone();
    cluster.apply(&out).apply_landing(&out, Land::BeforeWhatOnlyTheServerHas);
    assert_eq!((findings(&cluster), cluster.generation), (Some(first.clone()), 1));
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:latest"));
    let second = findings(&cluster).expect("two findings");
    assert!(second.starts_with(&first) && second.contains("\nPSG302 "), "{second}");
    cluster.replace(&out);
    assert_eq!(findings(&cluster).as_ref(), Some(&first));
    out["spec"] = plain["spec"].clone();
    cluster.apply(&out);
    assert_eq!(findings(&cluster), None);
    assert_eq!(cluster.live["metadata"]["annotations"], json!({"team": "data"}));
}

#[test]
fn a_policy_may_keep_objects_as_they_are() {
    let mut out = manifest();
    out["spec"]["template"]["metadata"]["annotations"] = json!({"prefect-guard.io/inject": "false"});
    for keys in
        ["report: {annotation: false}", "namespaces: {data: {report: {annotation: false}}}", "mode: audit"]
    {
        let yaml = format!("apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n{keys}\n");
        let policy = Policy::from_yaml(&yaml, prefect_guard::rules::CATALOGUE).expect("a policy");
        let cluster = Cluster::create_under(&out, policy);
        assert_eq!(cluster.live["metadata"], out["metadata"], "{keys}");
    }
}

#[test]
fn a_server_that_becomes_a_worker_loses_ours() {
    let mut worker = manifest();
    spec(&mut worker)["containers"][0]["args"] = json!(["prefect", "worker", "start", "--pool", "k8s"]);
    let mut cluster = Cluster::create(&manifest());
    cluster.apply(&worker);
    assert_eq!(cluster.inits(), ["wait-for-db"]);
}

#[test]
fn a_migration_of_the_authors_own_takes_the_place_of_ours_and_is_pinned() {
    let mut own = manifest();
    spec(&mut own)["initContainers"].as_array_mut().expect("initContainers").push(json!({
        "name": "migrate", "image": "prefecthq/prefect:3.4.0", "args": ["prefect", "server", "database", "upgrade", "-y"],
        "env": [{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}],
    }));
    let mut cluster = Cluster::create(&manifest());
    cluster.apply(&own);
    assert_eq!(cluster.inits(), ["wait-for-db", "migrate"]);
    let inits = &cluster.live["spec"]["template"]["spec"]["initContainers"];
    assert_eq!(inits[1]["image"], "prefecthq/prefect:3.8.8-python3.12");
    cluster.apply(&own);
    assert_eq!(cluster.generation, 2, "Git's other image is pinned again, to the same template");
}

#[test]
fn what_a_controller_owns_is_not_touched() {
    let mut owned = manifest();
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "example.com/v1", "kind": "PrefectStack", "name": "p", "uid": "u", "controller": true}]);
    let mut cluster = Cluster::create(&owned);
    assert_eq!(cluster.inits(), ["wait-for-db"]);
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:3.9.0-python3.12"));
    assert_eq!(cluster.inits(), ["wait-for-db"]);
}

#[test]
fn a_new_policy_waits_for_the_next_change() {
    let mut cluster = Cluster::create(&manifest());
    let yaml = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmigration: {serialize: never}\n";
    cluster.policy = Policy::from_yaml(yaml, prefect_guard::rules::CATALOGUE).expect("a policy");
    let before = cluster.ours().clone();
    cluster.apply(&manifest());
    assert_eq!(cluster.ours(), &before);
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:3.9.0-python3.12"));
    assert_eq!(cluster.ours()["args"], json!(["prefect", "server", "database", "upgrade", "-y"]));
}

fn policy(migration: &str) -> Policy {
    let yaml = format!("apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmigration: {migration}\n");
    Policy::from_yaml(&yaml, prefect_guard::rules::CATALOGUE).expect("a policy")
}

#[test]
fn an_operator_that_replaces_the_spec_in_a_loop_changes_nothing() {
    let mut owned = manifest();
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "prefect.io/v1", "kind": "PrefectServer", "name": "p", "uid": "u", "controller": true}]);
    let mut cluster = Cluster::create(&owned);
    assert_eq!(cluster.inits(), ["wait-for-db", OURS]);
    let settled = cluster.live.clone();
    for _ in 0..20 {
        // controller-runtime's CreateOrUpdate: the live object with the desired spec in place of its own.
        let mut desired = cluster.live.clone();
        desired["spec"] = owned["spec"].clone();
        cluster.update(desired);
        assert_eq!(cluster.live, settled, "the reconcile ends as no change");
    }
    assert_eq!(cluster.generation, 1);
    let mut cluster = Cluster::create_under(&owned, policy("{controllers: []}"));
    assert_eq!(cluster.inits(), ["wait-for-db"]);
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:3.9.0-python3.12"));
    assert_eq!(cluster.inits(), ["wait-for-db"]);
}

#[test]
fn what_the_policy_has_for_the_migration_alone_is_no_difference() {
    let text = "{env: [{name: POD, value: migration}, {name: PREFECT_API_DATABASE_TIMEOUT, value: \"600\"}], \
                resources: {limits: {memory: 2Gi}}, securityContext: {runAsUser: 7}, timeouts: {lock: 900, statement: 60}}";
    let mut cluster = Cluster::create_under(&manifest(), policy(text));
    let ours = cluster.ours().clone();
    assert_eq!(ours["env"][1], json!({"name": "POD", "value": "migration"}));
    assert_eq!(ours["env"][2], json!({"name": "PREFECT_API_DATABASE_TIMEOUT", "value": "600"}));
    assert_eq!(ours["resources"], json!({"limits": {"memory": "2Gi"}}));
    assert_eq!(ours["securityContext"], json!({"runAsUser": 7}));
    let words = ours["args"].as_array().expect("args");
    assert!(words.contains(&json!("--lock-timeout=900")) && words.contains(&json!("--statement-timeout=60")));
    cluster.apply(&manifest()).replace(&manifest()).apply(&manifest());
    assert_eq!((cluster.ours(), cluster.generation), (&ours, 1));
    // What the policy has by now is no reason to change it: it comes when the container is written anew.
    cluster.policy = policy(&text.replace("2Gi", "4Gi"));
    cluster.apply(&manifest()).replace(&manifest());
    cluster.edit(|spec| spec["terminationGracePeriodSeconds"] = json!(7));
    assert_eq!((&cluster.ours()["resources"]["limits"]["memory"], cluster.generation), (&json!("2Gi"), 2));
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:3.9.1-python3.12"));
    assert_eq!((&cluster.ours()["resources"]["limits"]["memory"], cluster.generation), (&json!("4Gi"), 3));
    cluster = Cluster::create_under(&manifest(), policy(text));
    // Taken out of the policy, it goes with the next change of the template.
    cluster.policy = Policy::default();
    cluster.apply(&manifest());
    assert_eq!(cluster.generation, 1);
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:3.9.0-python3.12"));
    assert_eq!(cluster.ours()["env"].as_array().map(Vec::len), Some(2));
    assert_eq!(cluster.ours()["resources"], json!({"limits": {"memory": "1Gi"}}));
}

#[test]
fn the_memory_that_the_policy_gives_the_migration_is_what_counts() {
    let small = |server: &str, yaml: &str| {
        let mut object = manifest();
        spec(&mut object)["containers"][0]["resources"]["limits"]["memory"] = json!(server);
        let policy = policy(yaml);
        let mutated = mutated(&review(&object, None), &policy);
        let verdict = ask(Endpoint::Validate, &review(&mutated, None), &policy);
        rules_of(&verdict).contains(&"PSG206".to_owned())
    };
    assert!(small("128Mi", "{}") && !small("1Gi", "{}"));
    assert!(!small("128Mi", "{resources: {limits: {memory: 512Mi}}}"));
    assert!(small("1Gi", "{resources: {limits: {memory: 64Mi}}}"));
}

#[test]
fn a_variable_that_the_url_is_made_of_stays_the_servers() {
    let mut out = manifest();
    out["spec"]["template"]["spec"]["containers"][0]["env"] = json!([
        {"name": "DB_HOST", "value": "db"}, {"name": "LEVEL", "value": "INFO"},
        {"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "value": "postgresql+asyncpg://u@$(DB_HOST)/p"},
    ]);
    let text = "{env: [{name: DB_HOST, value: other}, {name: LEVEL, value: DEBUG}]}";
    let mut cluster = Cluster::create_under(&out, policy(text));
    let env = cluster.ours()["env"].clone();
    assert_eq!((&env[0]["value"], &env[1]["value"]), (&json!("db"), &json!("DEBUG")), "{env}");
    assert_eq!(env.as_array().map(Vec::len), Some(3));
    cluster.apply(&out).replace(&out);
    assert_eq!(cluster.generation, 1);
}

#[test]
fn where_no_python_can_be_named_nobody_waits() {
    let mut out = manifest();
    out["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/own:1");
    let cluster = Cluster::create_under(&out, policy("{mode: wait}"));
    let ours = cluster.ours();
    let words = |field: &str| ours[field].as_array().cloned().unwrap_or_default();
    let line: Vec<Value> = [words("command"), words("args")].concat();
    assert!(line.ends_with(&["server", "database", "upgrade", "-y"].map(Value::from)), "{line:?}");
    assert!(!line.contains(&json!(prefect_guard::migration::script::WAIT)));
}

#[test]
fn a_container_that_waits_comes_and_goes_with_the_annotation() {
    let mut waiting = manifest();
    waiting["spec"]["template"]["metadata"]["annotations"] =
        json!({"prefect-guard.io/migration": "wait:migrate"});
    let mut cluster = Cluster::create(&waiting);
    let wait = json!([
        "python",
        "-c",
        prefect_guard::migration::script::WAIT,
        "--on-newer-schema=continue",
        "--job=migrate"
    ]);
    assert_eq!(cluster.ours()["args"], wait);
    cluster.apply(&waiting).replace(&waiting);
    assert_eq!((cluster.ours()["args"].clone(), cluster.generation), (wait, 1));
    cluster.replace(&manifest());
    assert_eq!(cluster.ours()["args"][2], prefect_guard::migration::script::SCRIPT);
    cluster.policy = policy("{mode: wait, timeouts: {wait: 60}}");
    cluster.edit(|spec| spec["containers"][0]["image"] = json!("prefecthq/prefect:3.9.0-python3.12"));
    assert_eq!(cluster.ours()["args"][4], "--wait-timeout=60");
}

/// The Job of a hook as charts have it.
fn job(command: Value, args: Value) -> Value {
    let mut container = json!({"name": "migrate", "image": "prefecthq/prefect:3.8.8-python3.12",
        "env": [{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL",
                 "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}]});
    for (field, words) in [("command", command), ("args", args)] {
        if !words.is_null() {
            container[field] = words;
        }
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate", "namespace": "data"},
        "spec": {"template": {"metadata": {}, "spec": {"restartPolicy": "Never", "containers": [container]}}}})
}

fn line(object: &Value) -> Vec<String> {
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    let words = |field: &str| container[field].as_array().cloned().unwrap_or_default();
    words("command")
        .into_iter()
        .chain(words("args"))
        .map(|word| word.as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn the_upgrade_of_a_job_takes_the_lock_and_stays_the_same_when_it_is_applied_again() {
    let upgrade = json!(["prefect", "server", "database", "upgrade", "-y"]);
    let tini = json!(["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh"]);
    let module = json!(["/venv/bin/python", "-m", "prefect", "server", "database", "upgrade", "--yes"]);
    let jobs = [
        (Value::Null, upgrade.clone(), vec!["python"]),
        (upgrade.clone(), Value::Null, vec!["python"]),
        (tini, upgrade, vec!["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh", "python"]),
        (module, Value::Null, vec!["/venv/bin/python"]),
    ];
    for (command, args, begin) in jobs {
        let manifest = job(command, args);
        let mut cluster = Cluster::create(&manifest);
        let (locked, plain) = (line(&cluster.live), line(&manifest));
        assert!(
            locked.iter().map(String::as_str).take(begin.len()).eq(begin.iter().copied()),
            "{:?}",
            locked[0]
        );
        assert_eq!(locked[begin.len() + 1], prefect_guard::migration::script::SCRIPT);
        assert!(locked.ends_with(&plain[begin.len() - 1..]), "the call stays as it is written");
        let settled = cluster.live.clone();
        cluster
            .apply(&manifest)
            .apply_landing(&manifest, Land::BeforeWhatOnlyTheServerHas)
            .replace(&manifest);
        // The next release has another script, the next policy another wish: a Job's template is immutable.
        let index =
            locked.iter().position(|word| word == prefect_guard::migration::script::SCRIPT).expect("it");
        let whole = |keys: &str| {
            let yaml = format!("apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n{keys}\n");
            Policy::from_yaml(&yaml, prefect_guard::rules::CATALOGUE).expect("a policy")
        };
        for policy in [
            Policy::default(),
            policy("{jobs: leave}"),
            policy("{timeouts: {lock: 7}}"),
            whole("rules: {PSG205: off}"),
            whole("mode: audit"),
        ] {
            cluster.policy = policy;
            cluster.apply(&manifest).replace(&manifest);
            assert_eq!(cluster.live, settled);
        }
        let old = |object: &mut Value| {
            let container = &mut object["spec"]["template"]["spec"]["containers"][0];
            let command = container["command"].as_array().map_or(0, Vec::len);
            let at = if index < command {
                &mut container["command"][index]
            } else {
                &mut container["args"][index - command]
            };
            *at = json!("say('prefect-guard: in the words of another release')");
        };
        old(&mut cluster.live);
        let settled = cluster.live.clone();
        cluster.apply(&manifest).replace(&manifest);
        assert_eq!((&cluster.live, cluster.generation), (&settled, 1));
    }
}

/// The official chart's Job has a shell script: there the call becomes the script's arguments.
#[test]
fn the_upgrade_in_a_jobs_script_takes_the_lock_too() {
    const SCRIPT: &str = prefect_guard::migration::script::SCRIPT;
    let chart =
        "set -eo pipefail\necho \"Starting database migration...\"\nprefect server database upgrade -y\n";
    let scripts = [
        (json!(["/bin/sh", "-c"]), json!([chart]), "python"),
        (json!(["sh", "-c", "prefect server database upgrade -y && echo done"]), Value::Null, "python"),
        (Value::Null, json!(["bash", "-ec", "exec prefect server database upgrade --yes"]), "python"),
        (
            json!(["sh", "-c", "cd /app; /v/bin/prefect server database upgrade -y || exit 3"]),
            Value::Null,
            "/v/bin/python",
        ),
    ];
    for (command, args, python) in scripts {
        let manifest = job(command, args);
        let mut cluster = Cluster::create(&manifest);
        let (locked, plain) = (line(&cluster.live), line(&manifest));
        let at = locked.iter().position(|word| word == SCRIPT).expect("it takes the lock");
        assert_eq!(locked[..plain.len() - 1], plain[..plain.len() - 1]);
        assert_eq!(locked[at - 3..at], [&plain[0], python, "-c"].map(str::to_owned));
        let call = locked[at..].iter().skip(1).skip_while(|word| word.starts_with("--"));
        let call = call.cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(locked[at - 4].replace("\"$@\"", &call), plain[plain.len() - 1]);
        let settled = cluster.live.clone();
        for policy in [Policy::default(), policy("{jobs: leave}"), policy("{timeouts: {lock: 7}}")] {
            cluster.policy = policy;
            cluster
                .apply(&manifest)
                .apply_landing(&manifest, Land::BeforeWhatOnlyTheServerHas)
                .replace(&manifest);
            assert_eq!((&cluster.live, cluster.generation), (&settled, 1));
        }
        // Judged as the upgrade that it is, and by its image.
        let mut server = self::manifest();
        server["spec"]["template"]["spec"]["containers"][0]["image"] =
            json!("prefecthq/prefect:3.9.1-python3.12");
        let text = format!("{server}\n---\n{}\n", cluster.live);
        let ran = crate::support::program::run(&["check", "-", "--format", "json"], &text);
        assert!(ran.out.contains("PSG303") && !ran.out.contains("PSG205"), "{}{}", ran.out, ran.err);
    }
    // An author's own `"$@"` is no script of ours.
    let own =
        json!(["sh", "-c", "echo hello; \"$@\"", "sh", "prefect", "server", "database", "upgrade", "-y"]);
    let manifest = job(own, Value::Null);
    let mut cluster = Cluster::create(&manifest);
    let settled = cluster.live.clone();
    cluster.apply(&manifest).replace(&manifest);
    assert_eq!((&cluster.live, cluster.generation), (&settled, 1));
}

/// `kubectl describe pod` shows why a locked upgrade failed; the field is as immutable as the command.
#[test]
fn a_locked_job_shows_its_last_lines_and_one_locked_without_stays_without() {
    const FIELD: &str = "terminationMessagePolicy";
    const POINTER: &str = "/spec/template/spec/containers/0/terminationMessagePolicy";
    let plain = job(Value::Null, json!(["prefect", "server", "database", "upgrade", "-y"]));
    let written = |policy: &str| {
        let mut manifest = plain.clone();
        manifest["spec"]["template"]["spec"]["containers"][0][FIELD] = json!(policy);
        manifest
    };
    let undefaulted = mutated(&review(&plain, None), &Policy::default());
    assert_eq!(undefaulted.pointer(POINTER), Some(&json!("FallbackToLogsOnError")));
    for manifest in [plain.clone(), written("File"), written("FallbackToLogsOnError")] {
        let mut cluster = Cluster::create(&manifest);
        assert_eq!(cluster.live.pointer(POINTER), Some(&json!("FallbackToLogsOnError")));
        for policy in [Policy::default(), policy("{jobs: leave}")] {
            cluster.policy = policy;
            let settled = cluster.live.clone();
            cluster.apply(&manifest).apply_landing(&manifest, Land::BeforeWhatOnlyTheServerHas);
            cluster.replace(&manifest).replace(&reordered(&manifest));
            assert_eq!((&cluster.live, cluster.generation), (&settled, 1));
        }
    }
    // Locked without it, by a release or an edit of then.
    for manifest in [plain.clone(), written("File")] {
        let mut cluster = Cluster::create(&manifest);
        *cluster.live.pointer_mut(POINTER).expect("defaulted") = json!("File");
        let settled = cluster.live.clone();
        cluster.apply(&manifest).apply_landing(&manifest, Land::BeforeWhatOnlyTheServerHas);
        cluster.replace(&manifest);
        assert_eq!((&cluster.live, cluster.generation), (&settled, 1));
    }
    // Where nothing is locked, nothing else is changed either.
    let mut script = job(json!(["sh", "-c", "prefect server database upgrade -y | cat"]), Value::Null);
    script["spec"]["template"]["spec"]["containers"][0][FIELD] = json!("File");
    assert_eq!(mutated(&review(&script, None), &Policy::default()), script);
}

#[test]
fn a_job_that_is_not_plainly_the_upgrade_is_left_alone() {
    let words = |text: &str| json!(text.split(' ').collect::<Vec<_>>());
    for text in [
        "prefect server database upgrade -y --revision abc",
        "prefect server database upgrade -y --dry-run",
        "prefect version",
        "python flow.py",
        "uvx prefect server database upgrade -y",
        "prefect orion database upgrade -y",
    ] {
        let manifest = job(Value::Null, words(text));
        let after = mutated(&review(&manifest, None), &Policy::default());
        assert_eq!(line(&after), line(&manifest), "{text}");
    }
    for text in [
        "set -- a; prefect server database upgrade -y",
        "prefect server database upgrade -y $1",
        "echo $1; prefect server database upgrade -y",
        "prefect server database upgrade -y | tee /tmp/log",
        "if true; then prefect server database upgrade -y; fi",
        "cd /app && . .venv/bin/activate && prefect server database upgrade -y",
        "uv run prefect server database upgrade -y",
        "prefect  server database upgrade -y",
        "prefect server database upgrade -y && prefect server database upgrade -y --dry-run",
        "prefect server database upgrade -y; prefect server start",
        "A=b prefect server database upgrade -y",
    ] {
        let script = job(json!(["sh", "-c", text]), Value::Null);
        assert_eq!(line(&mutated(&review(&script, None), &Policy::default())), ["sh", "-c", text]);
    }
    let argued = job(json!(["sh", "-c", "prefect server database upgrade -y", "sh", "more"]), Value::Null);
    assert_eq!(mutated(&review(&argued, None), &Policy::default()), argued);
    let plain = job(Value::Null, words("prefect server database upgrade -y"));
    for policy in [policy("{jobs: leave}"), policy("{inject: false}"), policy("{serialize: never}")] {
        assert_eq!(mutated(&review(&plain, None), &policy), plain);
    }
    let mut owned = plain.clone();
    let owner = |kind: &str, group: &str| json!([{"apiVersion": group, "kind": kind, "name": "o", "uid": "u", "controller": true}]);
    owned["metadata"]["ownerReferences"] = owner("Workflow", "example.com/v1");
    assert_eq!(mutated(&review(&owned, None), &Policy::default()), owned);
    owned["metadata"]["ownerReferences"] = owner("CronJob", "batch/v1");
    assert_ne!(mutated(&review(&owned, None), &Policy::default()), owned);
    // One that ran before the guard came stays as it is.
    let mut touched = plain.clone();
    touched["spec"]["template"]["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(mutated(&review(&touched, Some(&plain)), &Policy::default()), touched);
    // A Job's pods are told apart from a server's initContainers: nothing is injected.
    let mut opted = plain.clone();
    opted["spec"]["template"]["metadata"]["annotations"] = json!({"prefect-guard.io/inject": "false"});
    assert_eq!(mutated(&review(&opted, None), &Policy::default()), opted);
}
