//! `job`: the Job that migrates a server's database, made from the server's manifest.

use prefect_guard::migration::script::SCRIPT;
use serde_json::{Value, json};

use crate::support::program::run as guard;

/// A server with all that decides where and as whom it runs.
fn server() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "prefect-server", "namespace": "data"},
    "spec": {"selector": {"matchLabels": {"app": "prefect"}}, "template": {
        "metadata": {
            "labels": {"app": "prefect", "azure.workload.identity/use": "true"},
            "annotations": {"vault.hashicorp.com/agent-inject": "true", "vault.hashicorp.com/agent-init-first": "true", "checksum": "1"},
        },
        "spec": {
            "serviceAccountName": "prefect", "imagePullSecrets": [{"name": "pull"}],
            "securityContext": {"runAsNonRoot": true}, "nodeSelector": {"pool": "data"},
            "tolerations": [{"key": "data", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"x": 1}, "podAntiAffinity": {"y": 1}},
            "initContainers": [{"name": "fetch-ca", "image": "busybox:1.37", "command": ["true"],
                "volumeMounts": [{"name": "ca", "mountPath": "/ca"}]}],
            "containers": [
                {"name": "api", "image": "prefecthq/prefect:3.8.8-python3.12", "imagePullPolicy": "Always",
                 "args": ["prefect", "server", "start", "--host", "0.0.0.0"],
                 "ports": [{"containerPort": 4200}], "livenessProbe": {"httpGet": {"path": "/", "port": 4200}},
                 "envFrom": [{"secretRef": {"name": "more"}}],
                 "env": [{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL",
                          "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}],
                 "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
                 "securityContext": {"runAsUser": 7}, "resources": {"limits": {"memory": "1Gi"}}},
                {"name": "metrics", "image": "prom/statsd-exporter:v0.28.0", "volumeMounts": [{"name": "own", "mountPath": "/x"}]},
            ],
            "volumes": [{"name": "ca", "emptyDir": {}}, {"name": "own", "emptyDir": {}}],
        },
    }}})
}

fn job(arguments: &[&str], manifest: &Value) -> Value {
    let ran = guard(&[&["job", "-"], arguments].concat(), &manifest.to_string());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.out.contains("{{"), "Helm would read it");
    serde_saphyr::from_str(&ran.out).expect("YAML")
}

#[test]
fn it_has_all_that_the_server_has_and_the_upgrade_under_the_lock() {
    let made = job(&[], &server());
    let mut spec = made["spec"]["template"]["spec"].clone();
    let args = spec["containers"][0].as_object_mut().unwrap().shift_remove("args").unwrap();
    let upgrade = [
        "python",
        "-c",
        SCRIPT,
        "--on-newer-schema=continue",
        "prefect",
        "server",
        "database",
        "upgrade",
        "-y",
    ];
    assert_eq!(args, json!(upgrade));
    let container = json!({"name": "migrate", "image": "prefecthq/prefect:3.8.8-python3.12", "imagePullPolicy": "Always",
        "envFrom": [{"secretRef": {"name": "more"}}],
        "env": [{"name": "PREFECT_SERVER_DATABASE_CONNECTION_URL", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}],
        "resources": {"limits": {"memory": "1Gi"}}, "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        "terminationMessagePolicy": "FallbackToLogsOnError", "securityContext": {"runAsUser": 7}});
    let server = server();
    let pod = &server["spec"]["template"]["spec"];
    let mut wanted = json!({"restartPolicy": "Never", "initContainers": pod["initContainers"], "containers": [container],
        "affinity": {"nodeAffinity": {"x": 1}}, "volumes": [{"name": "ca", "emptyDir": {}}]});
    for field in ["serviceAccountName", "imagePullSecrets", "securityContext", "nodeSelector", "tolerations"]
    {
        wanted[field] = pod[field].clone();
    }
    assert_eq!(spec, wanted);
    assert_eq!(made["metadata"], json!({"generateName": "prefect-server-migrate-", "namespace": "data"}));
    let metadata = &made["spec"]["template"]["metadata"];
    assert_eq!(
        metadata["labels"],
        json!({"azure.workload.identity/use": "true"}),
        "no label of the Service's selector"
    );
    assert_eq!(metadata["annotations"].as_object().map(serde_json::Map::len), Some(3), "{metadata}");
    assert_eq!(made["spec"]["ttlSecondsAfterFinished"], 86_400);
}

#[test]
fn hooks_are_those_of_their_tool_and_a_preview_changes_nothing() {
    let argo = job(&["--hook", "argocd", "--deadline", "900"], &server());
    assert_eq!(argo["metadata"]["name"], "prefect-server-migrate");
    assert_eq!(argo["metadata"]["annotations"]["argocd.argoproj.io/hook"], "PreSync");
    assert_eq!(
        argo["metadata"]["annotations"]["argocd.argoproj.io/hook-delete-policy"],
        "BeforeHookCreation"
    );
    assert_eq!(
        (&argo["spec"]["activeDeadlineSeconds"], &argo["spec"]["ttlSecondsAfterFinished"]),
        (&json!(900), &Value::Null)
    );
    let helm = job(&["--hook", "helm"], &server());
    assert_eq!(helm["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade");
    assert_eq!(helm["metadata"]["annotations"]["helm.sh/hook-weight"], "0");
    let plan = job(&["--plan"], &server());
    let words = plan["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    assert!(words.contains(&json!("--plan=only")) && !words.contains(&json!("--on-sqlite=continue")));
    assert_eq!(plan["spec"]["backoffLimit"], 0);
}

#[test]
fn check_knows_it_and_holds_its_image_to_the_servers() {
    let mut server = server();
    let job = job(&["--hook", "argocd"], &server);
    let check = |server: &Value, job: &Value, arguments: &[&str]| {
        let text = format!("{server}\n---\n{job}\n");
        guard(&[&["check", "-", "--format", "json"], arguments].concat(), &text)
    };
    let ran = check(&server, &job, &[]);
    assert_eq!(
        (ran.code, ran.out.contains("\"findings\": []") || ran.out.contains("\"findings\":[]")),
        (0, true),
        "{}",
        ran.out
    );
    // As it stands the lock is there already.
    let ran = check(&server, &job, &["--as-is"]);
    assert!(!ran.out.contains("PSG205"), "{}", ran.out);
    server["spec"]["template"]["spec"]["containers"][0]["image"] =
        json!("prefecthq/prefect:3.9.1-python3.12");
    let ran = check(&server, &job, &[]);
    assert!(ran.out.contains("PSG303"), "{}", ran.out);
    let mut wrong = job.clone();
    wrong["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
    wrong["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([]);
    let ran = check(&server, &wrong, &[]);
    assert!(ran.out.contains("PSG101"), "its database is judged as anybody's: {}", ran.out);
}

#[test]
fn of_several_servers_one_has_to_be_named() {
    let (one, mut other) = (server(), server());
    other["metadata"]["name"] = json!("other");
    let text = format!("{one}\n---\n{other}\n");
    let ran = guard(&["job", "-"], &text);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`prefect-server`, `other`; name one with `--server`"), "{}", ran.err);
    let ran = guard(&["job", "-", "--server", "other"], &text);
    assert_eq!((ran.code, ran.out.contains("generateName: other-migrate-")), (0, true), "{}", ran.err);
    // Background services have the same database: the server leads.
    other["spec"]["template"]["spec"]["containers"][0]["args"] =
        json!(["prefect", "server", "services", "start"]);
    let ran = guard(&["job", "-"], &format!("{other}\n---\n{one}\n"));
    assert_eq!(
        (ran.code, ran.out.contains("generateName: prefect-server-migrate-")),
        (0, true),
        "{}",
        ran.err
    );
}

#[test]
fn what_no_job_can_migrate_is_said() {
    let refused = |change: &dyn Fn(&mut Value), words: &str| {
        let mut server = server();
        change(&mut server["spec"]["template"]["spec"]);
        let ran = guard(&["job", "-"], &server.to_string());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
        assert!(ran.err.contains(words), "{}", ran.err);
    };
    let url = "PREFECT_SERVER_DATABASE_CONNECTION_URL";
    refused(
        &|spec| {
            spec["containers"][0]["env"] = json!([{"name": url, "value": "sqlite+aiosqlite:////data/p.db"}]);
        },
        "SQLite",
    );
    refused(
        &|spec| spec["containers"][0]["args"] = json!(["prefect", "worker", "start"]),
        "no Prefect server",
    );
    let proxied = |spec: &mut Value| {
        spec["containers"][0]["env"] =
            json!([{"name": url, "value": "postgresql+asyncpg://u@127.0.0.1:5432/p"}]);
        spec["containers"][1]["image"] = json!("gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.14.1");
    };
    refused(&proxied, "make it a native sidecar");
    // A Job is asked for just where nothing is injected.
    let opted_out = |spec: &mut Value| {
        proxied(spec);
        spec["initContainers"] = json!([{"name": "own", "image": "prefecthq/prefect:3.8.8-python3.12",
            "args": ["prefect", "server", "database", "upgrade", "-y"]}]);
    };
    refused(&opted_out, "make it a native sidecar");
    refused(
        &|spec| {
            spec["containers"][0]["args"] =
                json!(["sh", "-c", "pip install prefect==3.8.8 && exec prefect server start"]);
            spec["initContainers"] = json!([{"name": "own", "image": "prefecthq/prefect:3.8.8-python3.12",
                "args": ["prefect", "server", "database", "upgrade", "-y"]}]);
        },
        "installs Prefect",
    );
    let mut set = server();
    set["kind"] = json!("StatefulSet");
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "ca"}}]);
    let ran = guard(&["job", "-"], &set.to_string());
    assert!(ran.code == 2 && ran.err.contains("a claim of each of its own pods"), "{}", ran.err);
}
