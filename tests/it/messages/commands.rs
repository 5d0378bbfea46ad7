//! What commands say when they cannot do what they were asked, by running each.

use std::fs;
use std::path::Path;

use crate::support::program::{program, read};

const SERVER: &str = include_str!("../../../examples/server.yaml");
const POLICY: &str = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\n";

/// The files that the commands below name.
fn lay_out(folder: &Path) {
    let write = |name: &str, text: &[u8]| fs::write(folder.join(name), text).expect("a file");
    let second = SERVER.replace("name: prefect-server", "name: prefect-spare");
    write("server.yaml", SERVER.as_bytes());
    write("servers.yaml", format!("{SERVER}---\n{second}").as_bytes());
    write("values.yaml", b"replicas: 2\n");
    write("latin1.yaml", b"name: \xe9\n");
    write("broken.yaml", b"kind: Deployment\nname: 'open\n");
    write("template.yaml", b"kind: Deployment\nimage: {{ .Values.image }}\n");
    write("twice.yaml", b"kind: Deployment\nkind: StatefulSet\n");
    write("unknown-key.yaml", format!("{POLICY}mood: enforce\n").as_bytes());
    write("unknown-rule.yaml", format!("{POLICY}rules: {{synk-driver: warn}}\n").as_bytes());
    write("unknown-level.yaml", format!("{POLICY}rules: {{sync-driver: error}}\n").as_bytes());
    write("other-kind.yaml", b"apiVersion: v1\nkind: ConfigMap\n");
    write(
        "picks-a-database.yaml",
        format!("{POLICY}migration: {{env: [{{name: PREFECT_API_DATABASE_CONNECTION_URL, value: x}}]}}\n")
            .as_bytes(),
    );
    write("prefect-guard.yaml", POLICY.as_bytes());
    fs::create_dir(folder.join("empty")).expect("a folder");
}

/// The commands, as a shell gets them; a `|` gives what stands before it as the standard input.
const COMMANDS: &[&str] = &[
    "check missing.yaml",
    "check 'deploy/*.yml'",
    "check empty",
    "check values.yaml",
    "check latin1.yaml",
    "check broken.yaml",
    "check template.yaml",
    "check twice.yaml",
    "echo | check -",
    "check --format xml server.yaml",
    "check --polcy policy.yaml server.yaml",
    "check --policy missing.yaml server.yaml",
    "policy check unknown-key.yaml",
    "policy check unknown-rule.yaml",
    "policy check unknown-level.yaml",
    "policy check other-kind.yaml",
    "policy check picks-a-database.yaml",
    "explain PSG193",
    "init",
    "inject --in-place -",
    "inject --krm server.yaml",
    "inject empty",
    "echo kind: ConfigMap | inject --krm",
    "job empty",
    "job values.yaml",
    "job servers.yaml",
    "job servers.yaml --server prefect-sever",
    "audit",
    "status",
    "eject",
    "serve",
    "serve --tls-cert missing.crt --tls-key missing.key",
    "serve --tls-ephemeral --listen 10250",
];

/// The arguments of a command line; a word in quotes is one.
fn arguments(line: &str) -> Vec<String> {
    line.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect()
}

/// What each says, with its exit code.
pub(super) fn section() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    lay_out(folder.path());
    let mut text = String::new();
    for line in COMMANDS {
        let (input, command) = line.split_once(" | ").unwrap_or(("", line));
        let shown = if input.is_empty() { String::new() } else { format!("{input} | ") };
        let mut program = program();
        program.current_dir(folder.path()).env_clear().env("HOME", folder.path()).args(arguments(command));
        let input = input.trim_start_matches("echo").trim_start().to_owned() + "\n";
        let ran = assert_cmd::Command::from_std(program)
            .write_stdin(input)
            .timeout(std::time::Duration::from_secs(30))
            .output()
            .expect("the program runs");
        let ran = read(ran);
        let said = if ran.err.is_empty() { &ran.out } else { &ran.err };
        assert!(!said.contains(&*folder.path().to_string_lossy()), "{line}: {said}");
        text.push_str(&format!(
            "\n```console\n$ {shown}prefect-guard {command}\n{}\n# exit code {}\n```\n",
            said.trim_end(),
            ran.code
        ));
    }
    text
}
