//! Runs the commands of the documentation.
//!
//! Every block that begins with ```sh is run, line by line as it stands, in a folder with the manifests that the
//! pages speak of; it must end with 0, or with the code that `<!-- exit N -->` before it says. A block that cannot be
//! run here says why: `<!-- not run: … -->`. A block that calls `kubectl`, `helm` or another tool that would act on a
//! cluster is never run: whoever runs the tests may have one. Blocks of other kinds are no commands.

#![allow(clippy::print_stdout, reason = "it prints how long the first refusal took")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// Programs that act on a cluster, an image store or a repository.
const TOOLS: &[&str] = &[
    "kubectl",
    "helm",
    "kind",
    "k3d",
    "docker",
    "flux",
    "argocd",
    "kustomize",
    "git",
    "gh",
    "cosign",
    "openssl",
    "curl",
];

/// Whether a script calls one of them, or speaks to a cluster itself.
fn needs_a_cluster(script: &str) -> bool {
    if ["prefect-guard audit", "prefect-guard eject", "prefect-guard status"]
        .iter()
        .any(|command| script.contains(command))
    {
        return true;
    }
    let commands = script.split(['\n', '|', ';', '&', '(', '`']);
    commands.filter_map(|command| command.split_whitespace().next()).any(|first| TOOLS.contains(&first))
}

struct Block {
    line: usize,
    script: String,
    exit: i32,
    skipped: Option<String>,
}

/// The ```sh blocks of a page, with what the comment right before each says.
fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut said = String::new();
    while let Some((number, line)) = lines.next() {
        let bare = line.trim_start();
        if bare.starts_with("```") {
            let script: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| !line.trim_start().starts_with("```"))
                .collect();
            if bare == "```sh" {
                let between = |open: &str| said.strip_prefix(open).and_then(|rest| rest.strip_suffix(" -->"));
                found.push(Block {
                    line: number + 1,
                    script: script.join("\n"),
                    exit: between("<!-- exit ").map_or(0, |code| code.parse().unwrap()),
                    skipped: between("<!-- not run: ").map(str::to_owned),
                });
            }
            said.clear();
        } else if !bare.is_empty() {
            said = bare.to_owned();
        }
    }
    found
}

/// A folder as a reader has it after following the README: a clone with the manifests of the examples, and a `cargo`
/// that uses the program built for this test in place of building another one.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("bin")).unwrap();
    fs::create_dir_all(at("deploy")).unwrap();
    let guard = env!("CARGO_BIN_EXE_prefect-guard");
    let cargo = format!(
        "#!/bin/sh\nwhile [ $# -gt 0 ] && [ \"$1\" != -- ]; do [ \"$1\" = install ] && exit 0; shift; done\nshift\nexec {guard} \"$@\"\n"
    );
    fs::write(at("bin/cargo"), cargo).unwrap();
    fs::set_permissions(at("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(guard, at("bin/prefect-guard")).unwrap();
    fs::create_dir_all(at("examples")).unwrap();
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, at("examples").join(path.file_name().unwrap())).unwrap();
    }
    // What the pages call `deploy/` is the reader's own.
    fs::copy(at("examples/server.yaml"), at("deploy/server.yaml")).unwrap();
    folder
}

#[test]
fn the_commands_in_the_documentation_run() {
    let mut ran = 0;
    let mut broken = Vec::new();
    for page in pages() {
        let workplace = workplace();
        let path = format!("{}/bin:{}", workplace.path().display(), std::env::var("PATH").unwrap());
        let started = Instant::now();
        let mut refused = false;
        let name = page.strip_prefix(root()).unwrap().display().to_string();
        for block in blocks(&fs::read_to_string(&page).unwrap()) {
            if let Some(why) = &block.skipped {
                assert!(why.len() >= 10, "{name}:{}: say why it is not run", block.line);
                continue;
            }
            if needs_a_cluster(&block.script) {
                continue;
            }
            let output = Command::new("bash")
                .args(["-e", "-o", "pipefail", "-c", &block.script])
                .current_dir(workplace.path())
                .env_clear()
                .env("PATH", &path)
                .env("HOME", workplace.path())
                .env("KUBECONFIG", "/nonexistent")
                .output()
                .unwrap();
            ran += 1;
            if output.status.code() != Some(block.exit) {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                broken.push(format!(
                    "{name}:{}: ended with {:?}, not {}\n{}\n{}{}",
                    block.line,
                    output.status.code(),
                    block.exit,
                    block.script,
                    text(&output.stdout),
                    text(&output.stderr)
                ));
            }
            if block.exit == 1 && !refused {
                refused = true;
                println!("{name}: the first refused manifest after {:.1} s", started.elapsed().as_secs_f32());
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    assert!(ran >= 10, "only {ran} blocks were run");
}

#[test]
fn what_the_pages_show_is_what_comes_out() {
    let page = fs::read_to_string(root().join("docs/getting-started.md")).unwrap();
    let shown = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_prefect-guard"))
        .args(["check", "examples/sync-driver.yaml"])
        .current_dir(root())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), shown);
    // What is drawn is compared in `pictures`; the README has to show it.
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains("](docs/pictures/denial.svg)"));
}

/// The ```yaml blocks of a page.
fn manifests(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect()
}

/// A whole server in the pages is one to copy: nothing may be said against it.
#[test]
fn servers_in_the_documentation_are_clean() {
    let mut seen = 0;
    for page in pages() {
        let name = page.strip_prefix(root()).unwrap().display().to_string();
        for manifest in manifests(&name).into_iter().filter(|block| block.contains("\nkind: Deployment\n")) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("server.yaml");
            fs::write(&file, &manifest).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_prefect-guard"))
                .args(["check", "--strict"])
                .arg(&file)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 Prefect server"), "{name}: {said}");
            seen += 1;
        }
    }
    assert!(seen > 0, "no server in the documentation");
}

/// Argo CD prunes what a plugin no longer prints, so the plugin must fail where `kustomize` does.
#[test]
fn the_plugin_for_argo_cd_fails_where_its_manifests_cannot_be_rendered() {
    let plugin = manifests("docs/argo-cd.md")
        .into_iter()
        .find(|block| block.contains("kind: ConfigManagementPlugin"))
        .unwrap();
    let plugin: serde_json::Value = serde_saphyr::from_str(&plugin).unwrap();
    let words = |field: &str| -> Vec<String> {
        let list = plugin["spec"]["generate"][field].as_array().unwrap();
        list.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let line = [words("command"), words("args")].concat();
    let workplace = workplace();
    let path = format!("{}/bin:{}", workplace.path().display(), std::env::var("PATH").unwrap());
    let run = |kustomize: &str| {
        let file = workplace.path().join("bin/kustomize");
        fs::write(&file, format!("#!/bin/sh\n{kustomize}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        Command::new(&line[0])
            .args(&line[1..])
            .current_dir(workplace.path())
            .env("PATH", &path)
            .env("TMPDIR", workplace.path())
            .output()
            .unwrap()
    };
    let good = run("cat examples/server.yaml");
    let said = String::from_utf8_lossy(&good.stdout);
    assert!(good.status.success() && said.contains("name: prefect-guard-migrate"), "{said}");
    let bad = run("echo 'no such base' >&2; exit 1");
    assert!(!bad.status.success() && bad.stdout.is_empty());
    let left =
        fs::read_dir(workplace.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
    assert_eq!(left.count(), 0, "the rendered manifests are left behind");
}

/// What a CI line with `|| [ $? -eq 1 ]` lets pass: findings, and nothing else.
#[test]
fn the_line_for_code_scanning_hides_findings_alone() {
    let page = fs::read_to_string(root().join("docs/check.md")).unwrap();
    let line = page.split("- run: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let workplace = workplace();
    let path = format!("{}/bin:{}", workplace.path().display(), std::env::var("PATH").unwrap());
    let run = || {
        let script = ["-e", "-c", line];
        let run = Command::new("bash").args(script).current_dir(workplace.path()).env("PATH", &path).output();
        run.unwrap().status.success()
    };
    assert!(run(), "clean");
    fs::copy(workplace.path().join("examples/sync-driver.yaml"), workplace.path().join("deploy/bad.yaml"))
        .unwrap();
    assert!(run(), "refused: the report says so");
    fs::write(workplace.path().join("deploy/bad.yaml"), "prefect: [").unwrap();
    assert!(!run(), "unreadable");
}
