//! The command line as people and scripts meet it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use assert_cmd::prelude::*;
use serde_json::Value;

use crate::support::program::{self, Ran, program as guard};

const SERVER: &str = "examples/server.yaml";
const RESET: &str = "examples/reset-every-night.yaml";
const LIST: &str = "tests/fixtures/cli/list.json";
const CANARY: &str = "hunter2-canary";

fn run(arguments: &[&str]) -> Ran {
    pipe(arguments, "")
}

fn pipe(arguments: &[&str], input: &str) -> Ran {
    shown(program::run(arguments, input))
}

fn read(output: Output) -> Ran {
    shown(program::read(output))
}

/// Nothing that `check` prints holds the password, on the standard output neither.
fn shown(ran: Ran) -> Ran {
    assert!(!ran.out.contains(CANARY), "{}", ran.out);
    ran
}

fn json(arguments: &[&str]) -> (i32, Value) {
    let ran = run(arguments);
    (ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err)))
}

#[test]
fn a_good_manifest_is_clean() {
    let ran = run(&["check", SERVER]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert_eq!(ran.out, "2 objects, 1 workload, 1 Prefect server: 0 refused, 0 with warnings\n");
}

#[test]
fn as_it_stands_the_same_manifest_lacks_the_migration() {
    let ran = run(&["check", "--as-is", SERVER]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("error[PSG201]: missing-migration: container `api`"), "{}", ran.out);
    assert!(ran.out.contains("examples/server.yaml:24:23"), "{}", ran.out);
    assert!(ran.out.contains("- name: \"api\"\n"), "{}", ran.out);
}

#[test]
fn a_refusal_points_at_the_line_and_shows_no_secret() {
    let ran = run(&["check", RESET]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("error[PSG203]: destructive-database-command: container `reset`"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("examples/reset-every-night.yaml:15:19"), "{}", ran.out);
    assert!(ran.out.contains("= note: CronJob data/nightly\n"), "{}", ran.out);
    assert!(ran.out.contains("= help: "), "{}", ran.out);
}

#[test]
fn the_page_of_a_rule_is_shown_where_it_is_asked_for() {
    let ran = run(&["check", "--explain", RESET, LIST]);
    assert_eq!(ran.out.matches("    # PSG203 destructive-database-command").count(), 1, "{}", ran.out);
}

#[test]
fn json_has_the_keys_of_the_contract() {
    let (code, report) = json(&["check", "--format", "json", RESET, SERVER, LIST]);
    assert_eq!(code, 1);
    let finding = report["findings"].as_array().unwrap().iter().find(|f| f["rule"] == "PSG203").unwrap();
    let keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
    let wanted = [
        "rule",
        "name",
        "severity",
        "file",
        "line",
        "kind",
        "namespace",
        "resource",
        "container",
        "message",
        "help",
    ];
    assert_eq!(keys, wanted);
    assert_eq!(finding["name"], "destructive-database-command");
    assert_eq!(finding["severity"], "deny");
    assert_eq!((&finding["file"], &finding["line"]), (&RESET.into(), &15.into()));
    assert_eq!((&finding["kind"], &finding["namespace"]), (&"CronJob".into(), &"data".into()));
    assert_eq!((&finding["resource"], &finding["container"]), (&"nightly".into(), &"reset".into()));
    assert_eq!(report["summary"]["documents"], 5);
    assert_eq!(report["summary"]["workloads"], 3);
    assert_eq!(report["summary"]["denied"], 1);
    let keys: Vec<&String> = report["summary"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["documents", "workloads", "denied", "warned"]);
}

#[test]
fn sarif_names_every_rule_and_the_place() {
    let (code, log) = json(&["check", "--format", "sarif", RESET]);
    assert_eq!(code, 1);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), prefect_guard::rules::REGISTER.len());
    let result = run["results"].as_array().unwrap().iter().find(|r| r["ruleId"] == "PSG203").unwrap();
    assert_eq!(result["level"], "error");
    assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], "PSG203");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], RESET);
    assert_eq!(place["region"]["startLine"], 15);
}

#[test]
fn github_annotations_are_one_line_each() {
    let ran = run(&["check", "--format", "github", RESET]);
    assert_eq!(ran.code, 1);
    for line in ran.out.lines() {
        assert!(line.starts_with("::error file=") || line.starts_with("::warning file="), "{line}");
    }
    assert!(
        ran.out.contains("line=15,col=19,title=PSG203 destructive-database-command::CronJob data/nightly: ")
    );
}

#[test]
fn strict_counts_warnings() {
    let text = std::fs::read_to_string(SERVER).unwrap().replace("3.4.20-python3.12", "3-latest");
    let ran = pipe(&["check", "-"], &text);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("warning[PSG302]"), "{}", ran.out);
    assert!(ran.out.contains("<stdin>:25:24"), "{}", ran.out);
    assert_eq!(pipe(&["check", "--strict", "-"], &text).code, 1);
}

#[test]
fn the_policy_decides_and_its_namespaces_too() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let text = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nnamespaces:\n  data: {mode: warn}\n";
    std::fs::write(&policy, text).unwrap();
    let policy = policy.to_str().unwrap();
    let ran = run(&["check", "--policy", policy, RESET]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("warning[PSG203]"), "{}", ran.out);
    let elsewhere = std::fs::read_to_string(RESET).unwrap().replace("  namespace: data\n", "");
    assert_eq!(pipe(&["check", "--policy", policy, "-"], &elsewhere).code, 1);
    assert_eq!(pipe(&["check", "--policy", policy, "--namespace", "data", "-"], &elsewhere).code, 0);
}

#[test]
fn a_bad_policy_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    std::fs::write(&policy, "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmood: enforce\n").unwrap();
    let path = policy.to_str().unwrap();
    for arguments in [vec!["policy", "check", path], vec!["check", "--policy", path, SERVER]] {
        let ran = run(&arguments);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(path) && ran.err.contains("line 3"), "{}", ran.err);
    }
    std::fs::write(&policy, "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmode: enforce\n").unwrap();
    assert_eq!(run(&["policy", "check", path]).code, 0);
    let (code, schema) = json(&["policy", "schema"]);
    assert_eq!((code, &schema["additionalProperties"]), (0, &Value::Bool(false)));
}

#[test]
fn what_cannot_be_read_is_named_and_ends_with_2() {
    let template = format!("kind: Deployment\nimage: {{{{ .Values.image }}}} # {CANARY}\n");
    let ran = pipe(&["check", "-"], &template);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("helm template … | prefect-guard check -"), "{}", ran.out);
    let broken = format!("a: 1\n---\nkind: Deployment\nurl: '{CANARY}\n");
    let ran = pipe(&["check", "-"], &broken);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("<stdin>:4:6"), "{}", ran.out);
    let ran = pipe(&["check", "--format", "json", "-"], &broken);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("<stdin>:4:6: not readable as YAML"), "{}", ran.err);
    assert_eq!(run(&["check", "no/such/file.yaml"]).code, 2);
    assert_eq!(run(&["check", "--format", "xml", SERVER]).code, 2);
}

#[test]
fn a_broken_document_does_not_hide_the_others() {
    let text = format!("a: 'open\n---\n{}", std::fs::read_to_string(RESET).unwrap());
    let ran = pipe(&["check", "-"], &text);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("PSG203") && ran.out.contains("1 unreadable"), "{}", ran.out);
}

#[test]
fn directories_are_walked_with_gitignore_and_globs_match() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("deep/er")).unwrap();
    for name in ["deep/er/a.yml", "b.yaml", "ignored.yaml", "notes.txt", ".hidden.yaml"] {
        std::fs::copy(RESET, at(name)).unwrap();
    }
    std::fs::write(at("unrelated.yaml"), "a: {{ .Values.b }}\n").unwrap();
    std::fs::write(at(".gitignore"), "ignored.yaml\n").unwrap();
    let files = |argument: &str| -> Vec<String> {
        let (_, report) = json(&["check", "--format", "json", argument]);
        let base = format!("{}/", folder.path().display());
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .filter(|f| f["rule"] == "PSG203")
            .map(|f| f["file"].as_str().unwrap().replace(&base, ""))
            .collect()
    };
    let folder_name = folder.path().to_str().unwrap();
    assert_eq!(files(folder_name), ["b.yaml", "deep/er/a.yml"]);
    assert_eq!(files(&format!("{folder_name}/**/*.yml")), ["deep/er/a.yml"]);
    assert_eq!(files(&format!("{folder_name}/*.yaml")), ["b.yaml"]);
    assert_eq!(run(&["check", &format!("{folder_name}/*.nothing")]).code, 2);
}

#[test]
fn several_hundred_files_take_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(SERVER).unwrap();
    for number in 0..400 {
        std::fs::write(folder.path().join(format!("{number}.yaml")), &text).unwrap();
    }
    let started = std::time::Instant::now();
    let ran = run(&["check", folder.path().to_str().unwrap()]);
    assert!(ran.out.starts_with("800 objects, 400 workloads"), "{}", ran.out);
    // A quarter of a second in a release build; the bound leaves room for a busy machine without optimisation.
    assert!(started.elapsed().as_secs() < 30, "took {:?}", started.elapsed());
}

#[test]
fn rules_over_several_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(SERVER, folder.path().join("server.yaml")).unwrap();
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, namespace: data}\nspec:\n  template:\n    spec:\n      containers:\n      - name: m\n        image: prefecthq/prefect:3.3.0-python3.12\n        command: [prefect, server, database, upgrade, -y]\n        env:\n        - name: PREFECT_SERVER_DATABASE_CONNECTION_URL\n          valueFrom: {secretKeyRef: {name: prefect-db, key: url}}\n";
    std::fs::write(folder.path().join("job.yaml"), job).unwrap();
    let (code, report) = json(&["check", "--format", "json", folder.path().to_str().unwrap()]);
    assert_eq!(code, 0);
    let rules: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|f| (&f["rule"], &f["line"])).collect();
    assert_eq!(rules, [(&"PSG303".into(), &9.into())], "{report:#}");
}

#[test]
fn explain_prints_pages_and_suggests() {
    let ran = run(&["explain", "PSG203", "floating-image"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.starts_with("# PSG203 destructive-database-command\n"));
    assert!(ran.out.contains("\n# PSG302 floating-image\n"));
    let table = run(&["explain"]);
    assert_eq!(
        table.out.lines().filter(|line| line.starts_with("PSG")).count(),
        prefect_guard::rules::REGISTER.len()
    );
    let ran = run(&["explain", "floting-image"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("did you mean `PSG302` (floating-image)"), "{}", ran.err);
    let (_, rules) = json(&["explain", "--format", "json", "PSG203"]);
    assert_eq!(rules[0]["name"], "destructive-database-command");
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.code, 0);
        for command in ["serve", "check", "inject", "audit", "eject", "explain", "demo", "policy"] {
            assert!(ran.out.contains(command), "{shell} knows no {command}");
        }
    }
}

#[test]
fn every_command_has_help_and_the_version_is_known() {
    let version = format!("prefect-guard {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]).out, version);
    let help = run(&["--help"]).out;
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = listed
        .filter(|line| !line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 9, "{commands:?}");
    for command in commands {
        let ran = run(&[command, "--help"]);
        assert!(ran.code == 0 && ran.out.contains("Usage: prefect-guard"), "{command}");
    }
    assert_eq!(run(&[]).code, 2);
}

#[test]
fn a_value_in_the_place_of_a_name_is_not_shown() {
    let manifest = format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"p"}},"spec":{{"template":{{"spec":{{
        "containers":[{{"name":"api","image":"prefecthq/prefect:3.8.8","command":["prefect","server","start"],"env":[
        {{"name":"PREFECT_API_DATABASE_CONNECTION_URI=postgresql://u:{CANARY}@h/d","value":"x"}}]}}]}}}}}}}}"#
    );
    for format in ["github", "json"] {
        let ran = pipe(&["check", "--format", format, "-"], &manifest);
        assert!(ran.code == 1 && ran.out.contains("PREFECT_API_DATABASE_CONNECTION_URI…"), "{}", ran.out);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = guard()
        .args(["explain", "--format", "markdown"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_verdict_outlives_its_reader() {
    // More than a pipe holds, so that the reader is gone before all is written.
    let many = std::fs::read_to_string(RESET).unwrap().repeat(300);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.yaml");
    std::fs::write(&path, many.replace("apiVersion", "---\napiVersion")).unwrap();
    for format in ["text", "json", "sarif", "github"] {
        let mut command = guard();
        command.args(["check", "--format", format]).arg(&path).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.as_str()), (Some(1), ""), "{format}");
    }
}

#[test]
fn nothing_to_judge_is_not_clean() {
    for input in ["", "\n \n"] {
        for command in ["check", "inject"] {
            let ran = pipe(&[command, "-"], input);
            assert_eq!(ran.code, 2, "{command}: {}{}", ran.out, ran.err);
            assert!(format!("{}{}", ran.out, ran.err).contains("nothing came on the standard input"));
        }
    }
    let ran = pipe(&["check", "-"], "replicas: 2\n");
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("holds no Kubernetes manifest"), "{}", ran.out);
    // What `kubectl get -o yaml` says of nothing.
    assert_eq!(pipe(&["check", "-"], "apiVersion: v1\nkind: List\nitems: []\n").code, 0);

    let folder = tempfile::tempdir().unwrap();
    let values = folder.path().join("values.yaml");
    std::fs::write(&values, "replicas: 2\n").unwrap();
    let values = values.to_str().unwrap();
    assert_eq!(run(&["check", values]).code, 2);
    let hook = run(&["check", "--skip-others", values]);
    assert_eq!((hook.code, hook.err.as_str()), (0, ""), "{}", hook.out);
    let beside = run(&["check", values, SERVER]);
    assert_eq!(beside.code, 0);
    assert!(beside.err.contains("values.yaml: this holds no Kubernetes manifest"), "{}", beside.err);
    let found = run(&["check", folder.path().to_str().unwrap()]);
    assert_eq!(found.code, 0);
    assert!(found.err.contains("no Kubernetes manifest found"), "{}", found.err);
}

#[test]
fn a_missing_file_does_not_hide_the_others() {
    let ran = run(&["check", RESET, "no-such-file.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("PSG203") && ran.out.contains("no-such-file.yaml"), "{}", ran.out);
}

#[test]
fn a_document_beyond_all_bounds_is_told_in_words() {
    let long = format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  a: \"{}\"\n", "x".repeat(9 * 1024 * 1024));
    let ran = pipe(&["check", "-"], &long);
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("larger than any object") && !ran.out.contains("budget"), "{}", ran.out);
}

#[test]
fn a_kind_that_nobody_named_is_told_of() {
    let rollout = std::fs::read_to_string(SERVER)
        .unwrap()
        .replace("apps/v1", "argoproj.io/v1alpha1")
        .replace("kind: Deployment", "kind: Rollout");
    let ran = pipe(&["check", "-"], &format!("{rollout}\n---\n{rollout}"));
    assert_eq!(ran.code, 0);
    assert_eq!(ran.err.matches("kind Rollout holds a pod template").count(), 1, "{}", ran.err);
    let policy = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nkinds:\n- {group: argoproj.io, kind: Rollout}\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, policy).unwrap();
    let ran = pipe(&["check", "--policy", path.to_str().unwrap(), "-"], &rollout);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(ran.out.contains("1 Prefect server"), "{}", ran.out);
    // What a Deployment makes is judged there.
    let made = rollout.replace("kind: Rollout", "kind: ReplicaSet");
    assert_eq!(pipe(&["check", "-"], &made).err, "");
}

#[test]
fn audit_mode_does_not_send_people_round_in_circles() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmode: audit\n").unwrap();
    let ran = run(&["check", "--policy", path.to_str().unwrap(), SERVER]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("`mode: audit` injects nothing"), "{}", ran.out);
    assert!(!ran.out.contains("apply again"), "{}", ran.out);
}

#[test]
fn audit_and_eject_say_when_there_is_no_cluster() {
    for command in ["audit", "eject"] {
        let mut guard = guard();
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("kubeconfig");
        let output = guard.args([command, "--kubeconfig"]).arg(&missing).output().unwrap();
        let ran = read(output);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("cannot read the kubeconfig"), "{}", ran.err);
    }
}

#[test]
fn an_api_server_that_does_not_answer_is_named_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    // Nothing listens on port 1.
    let text = "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: \
                [{name: a, user: {}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n";
    std::fs::write(&path, text).unwrap();
    let ran = run(&["audit", "--kubeconfig", path.to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert_eq!(ran.err.matches("127.0.0.1:1").count(), 1, "{}", ran.err);
    assert_eq!(ran.err.matches("onnect").count(), 1, "{}", ran.err);
    // Without a kubeconfig, where one was looked for.
    let mut bare = guard();
    bare.args(["audit"]).env("KUBECONFIG", "/no/such/config").env("HOME", folder.path());
    let ran = read(bare.output().unwrap());
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("/no/such/config"), "{}", ran.err);
}

#[test]
fn the_demo_holds_what_it_promises() {
    let ran = run(&["demo", "--once"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let patched =
        ["+       initContainers:", "\n   prefect-guard-migrate\n", "deployment.apps/prefect-api created"];
    for text in patched.into_iter().chain([
        "PSG101",
        "PSG103",
        "PSG106",
        "PSG203",
        "help: name it `PREFECT_SERVER",
        "6 of 6",
    ]) {
        assert!(ran.out.contains(text), "{text} is not in\n{}", ran.out);
    }
    assert!(!ran.out.contains("NOT AS IT SHOULD BE") && !ran.out.contains('\x1b'), "{}", ran.out);
}

#[test]
fn the_demo_goes_on_serving_until_it_is_told_to_end() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        the_demo_ends_at(signal);
    }
}

fn the_demo_ends_at(signal: &str) {
    use std::io::{BufRead, BufReader};
    let mut child = guard().args(["demo", "--serve"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let curl = lines
        .map(Result::unwrap)
        .find(|line| line.trim_start().starts_with("curl "))
        .expect("a command to try");
    let words: Vec<&str> = curl.split_whitespace().collect();
    let ca = words[words.iter().position(|word| *word == "--cacert").unwrap() + 1];
    assert!(Path::new(ca).is_file());
    let tried = Command::new("sh").args(["-c", &curl]).output().unwrap();
    assert!(String::from_utf8_lossy(&tried.stdout).contains("\"allowed\":true"), "{tried:?}");
    Command::new("kill").args([signal, &child.id().to_string()]).assert().success();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!Path::new(ca).exists(), "the folder is gone");
}

#[test]
fn check_without_a_path_finds_manifests_and_leaves_out_what_is_rendered_first() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let here = |arguments: &[&str]| {
        let mut command = guard();
        read(command.args(arguments).current_dir(folder.path()).output().unwrap())
    };
    let ran = here(&["check"]);
    assert!(ran.err.contains("no `.yaml`, `.yml` or `.json` file found"), "{}", ran.err);

    let server = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(SERVER)).unwrap();
    write("deploy/server.yaml", &server);
    write("chart/Chart.yaml", "apiVersion: v2\nname: chart\nversion: 1.0.0\n");
    write("chart/templates/prefect.yaml", "kind: Deployment\n{{- if .Values.prefect }}\n{{- end }}\n");
    write("chart/templates/other.yaml", "{{ .Values.other }}\n");
    write("overlay/kustomization.yaml", "resources: [../deploy]\npatches:\n- path: ./sub/../patch.yaml\n");
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: p}\nspec: {template: {spec: {containers: \
                 [{name: server, command: [prefect, server, start]}]}}}\n";
    write("overlay/patch.yaml", patch);
    let ran = here(&["check"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("1 Prefect server: 0 refused"), "{}", ran.out);
    for told in ["`helm template chart | prefect-guard", "`kustomize build overlay | prefect-guard"] {
        assert_eq!(ran.err.matches(told).count(), 1, "{}", ran.err);
    }

    // A file that is no patch of anything is judged, and so is whatever is named.
    write("overlay/kustomization.yaml", "resources: [../deploy]\n");
    assert_eq!(here(&["check"]).code, 1);
    assert_eq!(here(&["check", "chart"]).code, 2);
}

/// What a terminal, or a reader of text, would take for something else than what is written.
const TRAPS: [char; 8] =
    ['\u{9b}', '\u{85}', '\u{2028}', '\u{202e}', '\u{61c}', '\u{2066}', '\u{e0041}', '\r'];

#[test]
fn nothing_of_a_manifest_reaches_a_terminal_but_what_is_printable() {
    let folder = tempfile::tempdir().unwrap();
    let text = |name: &str| format!("a{}{name}", TRAPS.iter().collect::<String>());
    let manifest = serde_json::json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": text("name"), "namespace": text("space")},
        "spec": {"template": {
            "metadata": {"annotations": {"prefect-guard.io/container": text("gone")}},
            "spec": {"containers": [
                {"name": text("one"), "image": text("image"), "command": ["prefect", "server", "start"]},
            ]},
        }},
    });
    let path = folder.path().join("a\u{9b}\u{202e}b.json");
    std::fs::write(&path, manifest.to_string()).unwrap();
    for format in ["text", "github", "json", "sarif"] {
        let ran = run(&["check", "--as-is", "--format", format, path.to_str().unwrap()]);
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        for trap in TRAPS {
            assert!(!ran.out.contains(trap), "{format}: {trap:?} in {}", ran.out.escape_unicode());
        }
        assert!(!ran.out.contains("\\u202e") && !ran.out.contains("\\r"), "{}", ran.out);
    }
}

#[test]
fn an_image_that_holds_a_password_is_not_shown() {
    let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: p}\nspec:\n  template:\n    spec:\n      \
                    containers:\n      - {\"name\": s, \"image\": \"u:hunter2-canary@r/p\", command: [prefect, server, start]}\n";
    let ran = pipe(&["check", "--as-is", "-"], manifest);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("\"image\": [hidden]"), "{}", ran.out);
}

#[test]
fn files_that_never_end_or_begin_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo.yaml");
    Command::new("mkfifo").arg(&fifo).assert().success();
    let fifo = fifo.to_str().unwrap();
    for arguments in [
        &["check", fifo][..],
        &["check", "/dev/zero"],
        &["check", "--policy", "/dev/zero", SERVER],
        &["policy", "check", "/dev/zero"],
        &["policy", "check", fifo],
        &["inject", fifo],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}");
        assert!(format!("{}{}", ran.out, ran.err).contains("is no plain file"), "{}{}", ran.out, ran.err);
    }
    // A pipe that somebody else has opened is another thing.
    let shell = format!("\"$0\" check /dev/stdin < {SERVER} && cat {SERVER} | \"$0\" check /dev/fd/0");
    let mut command = Command::new("sh");
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["-c", &shell, env!("CARGO_BIN_EXE_prefect-guard")]);
    command.assert().success();
}

#[test]
fn init_writes_a_policy_that_check_reads_and_never_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let path = file.to_str().unwrap();
    let ran = run(&["init", path]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    assert_eq!(run(&["policy", "check", path]).code, 0);
    std::fs::write(&file, "mine").unwrap();
    let ran = run(&["init", path]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("is there already") && ran.err.contains("--force"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(run(&["init", "--force", path]).code, 0);
    assert_eq!(run(&["init", "-"]).out, std::fs::read_to_string(&file).unwrap());
}

/// As kubectl runs its plugins.
#[test]
fn as_a_plugin_of_kubectl_it_names_what_was_typed() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-prefect_guard");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_prefect-guard"), &plugin).unwrap();
    let ran = read(Command::new(&plugin).args(["check", "--help"]).output().unwrap());
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("Usage: kubectl prefect-guard check"), "{}", ran.out);
    assert!(run(&["check", "--help"]).out.contains("Usage: prefect-guard check"));
}
