//! A namespace of its own, the chart's webhooks registered for it alone, and a guard that answers them.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::guard::{Guard, free_port};
use crate::manifests;

/// What a command printed.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The standard output of a command that has to succeed.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert!(self.ok, "{}{}", self.out, self.err);
        self.out
    }

    /// The standard error of a command that has to be refused.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert!(!self.ok, "this went through: {}{}", self.out, self.err);
        self.err
    }
}

/// Waits for something, at most a minute.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "waited a minute: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Where a tool is.
fn tool(name: &str, variable: &str) -> PathBuf {
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/live/bin").join(name);
    match std::env::var_os(variable) {
        Some(path) => path.into(),
        None if ours.is_file() => ours,
        None => name.into(),
    }
}

/// One test's part of the cluster.
pub(crate) struct World {
    /// Release, namespace and full name of the chart's objects alike; also the value of the label that selects.
    pub(crate) name: String,
    pub(crate) folder: TempDir,
    pub(crate) guard: Option<Guard>,
    kubeconfig: PathBuf,
    port: u16,
    /// Held until the world is gone.
    _turn: File,
}

/// Whether other tests may use the cluster at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    Welcome,
    /// For what looks at the whole cluster.
    Unwanted,
}

impl Company {
    /// Waits for the turn. A lock on a file, since each test may be a process of its own.
    fn turn(self) -> File {
        let path = std::env::temp_dir().join("prefect-guard-cluster-tests.lock");
        let file = File::create(path).expect("a lock file");
        match self {
            Company::Welcome => file.lock_shared(),
            Company::Unwanted => file.lock(),
        }
        .expect("the lock");
        file
    }
}

impl World {
    /// An empty namespace; nothing registered yet.
    pub(crate) fn bare(test: &str) -> World {
        World::found(test, Company::Welcome)
    }

    fn found(test: &str, company: Company) -> World {
        let turn = company.turn();
        let kubeconfig = std::env::var_os("PREFECT_GUARD_TEST_KUBECONFIG")
            .expect("PREFECT_GUARD_TEST_KUBECONFIG names the kubeconfig of a cluster on this machine");
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let name = format!("pg-{test}-{:x}", time.as_micros() & 0xfff_ffff);
        let folder = tempfile::tempdir().expect("a folder");
        let (kubeconfig, port) = (kubeconfig.into(), free_port());
        let world = World { name, folder, guard: None, kubeconfig, port, _turn: turn };
        world.apply(&manifests::namespace(&world.name)).done();
        world
    }

    /// A guard that runs, and its webhooks in force.
    pub(crate) fn new(test: &str, values: &[&str]) -> World {
        World::bare(test).guarded(values)
    }

    /// An empty namespace, with no other test at work on the cluster.
    pub(crate) fn alone_and_bare(test: &str) -> World {
        World::found(test, Company::Unwanted)
    }

    /// The same, with no other test at work on the cluster.
    pub(crate) fn alone(test: &str, values: &[&str]) -> World {
        World::found(test, Company::Unwanted).guarded(values)
    }

    fn guarded(self, values: &[&str]) -> World {
        let mut world = self;
        world.start_guard(None);
        world.register(values);
        world.wait_for_webhooks();
        world
    }

    /// Both configurations are seen by the API server, which takes a moment after they are stored.
    fn in_force(&self) -> bool {
        let dry_run = ["create", "--dry-run=server", "-o=json", "-f=-"];
        let good = self.run(&dry_run, &manifests::server("probe"));
        assert!(good.ok || good.err.contains("webhook"), "{good:?}");
        let reset = manifests::server("probe")
            .replace("[prefect, server, start]", "[prefect, server, database, reset]");
        let bad = self.run(&dry_run, &reset);
        good.out.contains("prefect-guard-migrate") && bad.err.contains("denied the request")
    }

    /// Renders the chart for this world with its webhooks led to the guard on loopback.
    pub(crate) fn render(&self, values: &[&str]) -> String {
        let selector = format!(
            r#"webhook.namespaceSelector={{"matchLabels":{{"prefect-guard-test":"{}"}}}}"#,
            self.name
        );
        let url = format!("fullnameOverride={},webhook.url=https://127.0.0.1:{}", self.name, self.port);
        let ca = format!("tls.caBundle={}", self.folder.path().join("ca.crt").display());
        let mut arguments = vec!["template", &self.name, chart(), "--namespace", &self.name];
        arguments.extend(["--set", &url, "--set-json", &selector]);
        if !values.iter().any(|value| value.contains("tls.mode=")) {
            arguments.extend(["--set", "tls.mode=secret", "--set-file", &ca]);
        }
        arguments.extend(values);
        self.helm(&arguments).done()
    }

    /// Registers the chart's webhooks, and all else that it renders.
    pub(crate) fn register(&self, values: &[&str]) {
        self.apply(&self.render(values)).done();
    }

    /// Starts the guard that the webhooks lead to.
    pub(crate) fn start_guard(&mut self, policy: Option<&Path>) {
        self.guard = Some(Guard::ephemeral(self.folder.path(), self.port, policy));
    }

    /// Starts the guard that the webhooks lead to, with more arguments and as somebody.
    pub(crate) fn start_guard_as(&mut self, arguments: &[&str], kubeconfig: &Path) {
        let ca = self.folder.path().join("ca.crt").display().to_string();
        let mut all = vec!["--tls-ephemeral".to_owned(), "--ca-out".to_owned(), ca];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self.guard = Some(Guard::start(self.port, &all, Some(kubeconfig)));
    }

    /// Waits until the webhooks are in force.
    pub(crate) fn wait_for_webhooks(&self) {
        until("the webhooks are in force", || self.in_force());
    }

    pub(crate) fn stop_guard(&mut self) {
        self.guard = None;
    }

    /// The guard, for its counters.
    pub(crate) fn guard(&self) -> &Guard {
        self.guard.as_ref().expect("the guard runs")
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Said {
        self.run(arguments, "")
    }

    /// Runs kubectl with something on its standard input.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(tool("kubectl", "PREFECT_GUARD_KUBECTL"));
        command.args(["--request-timeout=30s", "--namespace", &self.name]).args(arguments);
        World::execute(command, &self.kubeconfig, input)
    }

    pub(crate) fn helm(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(tool("helm", "PREFECT_GUARD_HELM"));
        command.args(arguments);
        World::execute(command, &self.kubeconfig, "")
    }

    /// Runs another command of the guard against this cluster.
    pub(crate) fn prefect_guard(&self, arguments: &[&str]) -> Said {
        self.prefect_guard_as(&self.kubeconfig, arguments)
    }

    /// The same as somebody else.
    pub(crate) fn prefect_guard_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prefect-guard"));
        command.args(arguments);
        World::execute(command, kubeconfig, "")
    }

    /// The same with something on its standard input.
    pub(crate) fn prefect_guard_on(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prefect-guard"));
        command.args(arguments);
        World::execute(command, &self.kubeconfig, input)
    }

    /// A kubeconfig for a ServiceAccount: what it may do, and no more.
    pub(crate) fn account(&self, name: &str) -> PathBuf {
        let token = self.kubectl(&["create", "token", name]).done();
        let text = self.kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o=json"]).done();
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        let path = self.folder.path().join(format!("{name}.json"));
        std::fs::write(&path, config.to_string()).expect("a file");
        path
    }

    fn execute(mut command: Command, kubeconfig: &Path, input: &str) -> Said {
        command
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; run `tests/setup`"));
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Said { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// `kubectl apply`, client-side.
    pub(crate) fn apply(&self, manifest: &str) -> Said {
        self.run(&["apply", "-f=-"], manifest)
    }

    /// The object as it is stored.
    pub(crate) fn get(&self, what: &str) -> Value {
        let text = self.kubectl(&["get", what, "-o=json", "--show-managed-fields"]).done();
        serde_json::from_str(&text).expect("JSON")
    }

    /// The generation, which moves when the spec does.
    pub(crate) fn generation(&self, what: &str) -> u64 {
        self.get(what)["metadata"]["generation"].as_u64().expect("a generation")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Configurations first: what fails closed must not outlive its guard.
        let label = format!("app.kubernetes.io/instance={}", self.name);
        let kinds =
            "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings";
        self.kubectl(&["delete", kinds, "-l", &label, "--ignore-not-found"]);
        let ours = format!("prefect-guard-test={}", self.name);
        let kinds = format!("{kinds},customresourcedefinitions");
        self.kubectl(&["delete", &kinds, "-l", &ours, "--ignore-not-found", "--wait=false"]);
        self.kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// The chart's folder.
pub(crate) fn chart() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/charts/prefect-guard")
}

/// The initContainers of a workload.
pub(crate) fn init_containers(workload: &Value) -> Vec<Value> {
    workload["spec"]["template"]["spec"]["initContainers"].as_array().cloned().unwrap_or_default()
}

/// Our initContainer, if it is there.
pub(crate) fn migration(workload: &Value) -> Option<Value> {
    init_containers(workload).into_iter().find(|container| container["name"] == "prefect-guard-migrate")
}
