//! Detection and verdicts on manifests as people write them: the official charts rendered for many values, and files
//! found in public repositories.
//!
//! They are in `tests/fixtures/manifests`. What each must give is in `tests/fixtures/manifests.table`: after `/mutate` has done its part, what `/validate` says of every workload with a
//! Prefect server or database command in it. `UPDATE_TABLES=1` writes it anew; then read the difference.

use std::path::{Path, PathBuf};

use crate::support::settings::{Read, validated};
use prefect_guard::rule::Severity;

/// One workload of a manifest that holds a server or a database command.
struct Seen {
    file: String,
    object: String,
    servers: usize,
    commands: usize,
    rules: Vec<String>,
}

impl Seen {
    fn denied(&self) -> bool {
        self.rules.iter().any(|rule| rule.starts_with('!'))
    }

    fn line(&self) -> String {
        let rules = if self.rules.is_empty() { "-".to_owned() } else { self.rules.join(", ") };
        format!("{:<52} | {:<48} | {} | {} | {rules}", self.file, self.object, self.servers, self.commands)
    }
}

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
}

/// Every workload of the kinds we judge, in all files.
fn all() -> Vec<Seen> {
    let root = crate::support::root().join("tests/fixtures/manifests");
    let mut files = Vec::new();
    yaml_files(&root, &mut files);
    let mut seen = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let file = path.strip_prefix(&root).expect("below the folder").display().to_string();
        for document in prefect_guard::manifest::read(&text) {
            for object in document.objects() {
                if !matches!(object.kind(), "Deployment" | "StatefulSet" | "Job" | "CronJob") {
                    continue;
                }
                let manifest = object.node.to_json();
                let (mut servers, mut commands) = (0, 0);
                Read::of(&manifest.to_string(), |subject| {
                    (servers, commands) = (subject.servers.len(), subject.database_commands.len());
                });
                let mark = |severity| if severity == Severity::Deny { "!" } else { "" };
                let mut rules: Vec<String> = validated(&manifest)
                    .iter()
                    .map(|finding| format!("{}{}", mark(finding.severity), finding.rule.id))
                    .collect();
                rules.dedup();
                let object = format!("{} {}", object.kind(), object.name());
                seen.push(Seen { file: file.clone(), object, servers, commands, rules });
            }
        }
    }
    seen
}

#[test]
fn gives_what_the_table_says() {
    let path = crate::support::root().join("tests/fixtures/manifests.table");
    let head = format!("{:<52} | {:<48} | servers | commands | rules (! denies)\n", "file", "workload");
    let ours: String = head + &all().iter().map(|seen| seen.line() + "\n").collect::<String>();
    if std::env::var_os("UPDATE_TABLES").is_some() {
        std::fs::write(&path, &ours).expect("a writable table");
    }
    let wanted = std::fs::read_to_string(&path).expect("the table is checked in");
    for (ours, wanted) in ours.lines().zip(wanted.lines()) {
        assert_eq!(ours, wanted);
    }
    assert_eq!(ours.lines().count(), wanted.lines().count());
}

#[test]
fn takes_nothing_else_for_a_server() {
    for seen in all().iter().filter(|seen| seen.file.starts_with("other/")) {
        assert_eq!(
            (seen.servers, seen.commands, seen.rules.len()),
            (0, 0, 0),
            "{}: {}",
            seen.file,
            seen.object
        );
    }
}

/// Manifests that really run: nothing in them may be refused.
const RUNNING: [&str; 22] = [
    "chart/prefect-worker.yaml",
    "chart/prometheus-prefect-exporter.yaml",
    "chart/server-background-nomigrations.yaml",
    "chart/server-background-services.yaml",
    "chart/server-default.yaml",
    "chart/server-existing-secret.yaml",
    "chart/server-extdb-connstring.yaml",
    "chart/server-extdb-connstring-secretkey.yaml",
    "chart/server-hpa.yaml",
    "chart/server-sqlite.yaml",
    "job/flowrun-kubernetes-worker.yaml",
    "job/helm-2026-db-migrations-job.yaml",
    "job/operator-migration.yaml",
    "server/shell-export.yaml",
    "server/helm-2023-02-orion.yaml",
    "server/helm-2023-08.yaml",
    "server/helm-2025-09-separate.yaml",
    "server/helm-2026-components-zalando.yaml",
    "server/helm-2026-default.yaml",
    "server/helm-2026-sqlite.yaml",
    "server/secretref.yaml",
    "server/operator-sqlite.yaml",
];

#[test]
fn refuses_nothing_that_runs() {
    let all = all();
    for file in RUNNING {
        let own: Vec<&Seen> = all.iter().filter(|seen| seen.file == file).collect();
        assert!(!own.is_empty(), "{file} holds no workload");
        for seen in own {
            assert!(!seen.denied(), "{file}: {} {:?}", seen.object, seen.rules);
        }
    }
}
