//! The manifest that krew installs the kubectl plugin by, as the release workflow fills it in.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use prefect_guard::manifest;
use serde_json::{Value, json};

use crate::chart::helm::tool;
use crate::support::root;

/// The targets that the release workflow builds for.
fn targets() -> Vec<String> {
    let text = fs::read_to_string(root().join(".github/workflows/release.yml")).unwrap();
    let workflow = read(&text);
    let rows = workflow["jobs"]["binaries"]["strategy"]["matrix"]["include"].as_array().unwrap().clone();
    rows.iter().map(|row| row["target"].as_str().unwrap().to_owned()).collect()
}

fn read(text: &str) -> Value {
    manifest::parse(text).unwrap().unwrap().to_json()
}

fn fill(version: &str, sums: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (target, sum) in sums {
        let name = format!("prefect-guard-{target}.tar.gz");
        fs::write(folder.path().join(format!("{name}.sha256")), format!("{sum}  {name}\n")).unwrap();
    }
    Command::new(root().join(".github/krew")).arg(version).arg(folder.path()).output().unwrap()
}

/// What krew asks of a manifest (`internal/index/validation` of krew 0.4).
#[test]
fn the_manifest_is_one_that_krew_takes() {
    let targets = targets();
    assert_eq!(targets.len(), 2, "{targets:?}");
    let sums: Vec<(&str, String)> =
        targets.iter().zip(["a", "b"]).map(|(target, digit)| (target.as_str(), digit.repeat(64))).collect();
    let given: Vec<(&str, &str)> = sums.iter().map(|(target, sum)| (*target, sum.as_str())).collect();
    let output = fill("v1.2.3", &given);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains('@'), "{text}");
    let plugin = read(&text);
    assert_eq!(plugin["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!((&plugin["kind"], &plugin["metadata"]["name"]), (&json!("Plugin"), &json!("prefect-guard")));
    let spec = &plugin["spec"];
    assert_eq!(spec["version"], "v1.2.3");
    let short = spec["shortDescription"].as_str().unwrap();
    assert!(!short.contains('\n') && short.len() <= 50 && !short.ends_with('.'), "{short}");
    let platforms = spec["platforms"].as_array().unwrap();
    let mut seen = BTreeSet::new();
    for (platform, (target, sum)) in platforms.iter().zip(&sums) {
        let labels = &platform["selector"]["matchLabels"];
        assert_eq!(labels["os"], "linux");
        let arch = if target.starts_with("x86_64") { "amd64" } else { "arm64" };
        assert_eq!(labels["arch"], arch, "{target}");
        assert!(seen.insert(arch), "two platforms for one machine");
        let archive = format!("/releases/download/v1.2.3/prefect-guard-{target}.tar.gz");
        assert_eq!(platform["uri"], format!("https://github.com/prefect-guard/prefect-guard{archive}"));
        assert_eq!(platform["sha256"], **sum);
        assert_eq!(platform["bin"], "prefect-guard");
    }
    assert_eq!(platforms.len(), targets.len());
    // The commands that it speaks of are there.
    let commands: BTreeSet<String> = prefect_guard::cli::definition()
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    for named in ["status", "audit", "check", "eject"] {
        assert!(text.contains(&format!("`{named}")) && commands.contains(named), "{named}");
    }
}

#[test]
fn a_release_without_all_checksums_has_no_manifest() {
    let [one, other] = &targets()[..] else { panic!("two targets") };
    let (good, short) = ("a".repeat(64), "a".repeat(63));
    let refuses = |version: &str, sums: &[(&str, &str)], said: &str| {
        let output = fill(version, sums);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && output.stdout.is_empty() && error.contains(said),
            "{said}: {error}"
        );
    };
    refuses("1.2.3", &[(one, &good), (other, &good)], "is no version");
    refuses("v1.2.3", &[(one, &good)], "there is no");
    refuses("v1.2.3", &[(one, &good), (other, &short)], "begins with no SHA-256");
}

/// krew puts a link of this name into a folder of the `PATH`; kubectl does the rest.
#[test]
fn kubectl_runs_it_under_the_name_that_krew_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    symlink(env!("CARGO_BIN_EXE_prefect-guard"), folder.path().join("kubectl-prefect_guard")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new(tool("kubectl", "PREFECT_GUARD_KUBECTL"));
        command.args(arguments).env("PATH", &path).env("KUBECONFIG", "/nonexistent").current_dir(root());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, version) = kubectl(&["prefect-guard", "--version"]);
    assert_eq!((code, version.trim()), (Some(0), concat!("prefect-guard ", env!("CARGO_PKG_VERSION"))));
    let (code, said) = kubectl(&["prefect-guard", "check", "examples/sync-driver.yaml"]);
    assert!(code == Some(1) && said.contains("PSG103"), "{said}");
    let (_, help) = kubectl(&["prefect-guard", "status", "--help"]);
    assert!(help.contains("Usage: kubectl prefect-guard status"), "{help}");
}
