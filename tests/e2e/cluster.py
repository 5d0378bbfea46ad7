"""kubectl, helm and the guard's own program against a cluster, and waits with a bound."""

import base64
import functools
import json
import os
import subprocess
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = str(ROOT / "charts/prefect-guard")
GUARD = os.environ.get("E2E_GUARD_IMAGE", "prefect-guard:0.2.0")
OLD = os.environ.get("E2E_OLD_PREFECT", "prefecthq/prefect:3.4.20-python3.11")
NEW = os.environ.get("E2E_NEW_PREFECT", "prefecthq/prefect:3.8.8-python3.11")
POSTGRES = os.environ.get("E2E_POSTGRES", "postgres:16")
PROGRAM = os.environ.get("E2E_GUARD", str(ROOT / "target/debug/prefect-guard"))
WAIT = int(os.environ.get("E2E_WAIT", "300"))
RELEASE = "prefect-guard"
MIGRATION = "prefect-guard-migrate"
URL = "PREFECT_API_DATABASE_CONNECTION_URL"
CONFIGURATIONS = "validatingwebhookconfiguration,mutatingwebhookconfiguration"
LABEL = f"app.kubernetes.io/name={RELEASE}"


class Said:
    """What a command printed, and how it ended."""

    def __init__(self, command, done):
        self.command, self.code = command, done.returncode
        self.out, self.err = done.stdout, done.stderr

    def ok(self):
        assert self.code == 0, f"{self.command}: exit {self.code}\n{self.out}{self.err}"
        return self.out

    def refused(self, *words):
        assert self.code != 0, f"{self.command} went through: {self.out}"
        for word in words:
            assert word in self.err, f"no {word!r} in: {self.err}"
        return self.err


def run(*command, given=None, within=WAIT):
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=within, check=False
    )  # fmt: skip
    return Said(" ".join(command)[:200], done)


def kubectl(*arguments, given=None):
    if given is not None and not isinstance(given, str):
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": given})
    return run("kubectl", "--request-timeout=60s", *arguments, given=given)


def get(*arguments):
    return json.loads(kubectl("get", "-ojson", *arguments).ok())


def until(what, probe, within=WAIT):
    """Asks until the answer is not false. `what` is for whoever reads of the failure."""
    end = time.monotonic() + within
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited {within} s for {what}"
        time.sleep(1)


@functools.cache
def helm():
    """Helm's version, such as v4.1.4."""
    return run("helm", "version", "--template={{.Version}}").ok().strip()


def forced():
    """Helm 4 does not overwrite what kubectl wrote unless told to; Helm 3 knows no such flag."""
    return () if helm().startswith("v3.") else ("--force-conflicts",)


def install(*values, verb="install"):
    repository, _, tag = GUARD.rpartition(":")
    values += forced() if verb == "upgrade" else ()
    return run(
        "helm", verb, RELEASE, CHART, "--namespace", RELEASE, *(["--create-namespace"] if verb == "install" else []),
        "--wait", f"--timeout={WAIT}s", "--set", f"image.repository={repository},image.tag={tag}", *values,
        within=WAIT + 60,
    )  # fmt: skip


def uninstall():
    kubectl("delete", CONFIGURATIONS, "-l", LABEL)
    run("helm", "uninstall", RELEASE, "--namespace", RELEASE, "--wait")
    kubectl("delete", "namespace", RELEASE, "--ignore-not-found").ok()


def status(space, *names):
    """What `prefect-guard status` says of the servers in a namespace: its exit code, and the state of each."""
    said = run(PROGRAM, "status", "--namespace", space.name, "--format=json", *names)
    assert said.out, said.err
    return said.code, {server["name"]: server["state"] for server in json.loads(said.out)["servers"]}


def guard_is(replicas):
    """Scales the guard and waits until so many pods serve, and no other is left."""
    guard = ("--namespace", RELEASE)
    kubectl("scale", *guard, f"deployment/{RELEASE}", f"--replicas={replicas}").ok()

    def done():
        pods = get("pods", *guard, "-l", LABEL)["items"]
        return len(pods) == replicas == sum(map(is_ready, pods))

    until(f"{replicas} ready pods of the guard and no other", done)


def is_ready(pod):
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


class Postgres:
    """One PostgreSQL for the suite; each test has a database of its own."""

    namespace, host = "e2e-postgres", "postgres.e2e-postgres.svc"

    def start(self):
        container = {
            "name": "postgres", "image": POSTGRES, "imagePullPolicy": "IfNotPresent",
            "args": ["-c", "max_connections=300", "-c", "fsync=off"],
            "env": [{"name": f"POSTGRES_{n}", "value": v}
                    for n, v in (("USER", "prefect"), ("PASSWORD", "pw"), ("DB", "prefect"))],
            "readinessProbe": {"exec": {"command": ["pg_isready", "-h", "127.0.0.1", "-U", "prefect"]}},
            "volumeMounts": [{"name": "data", "mountPath": "/var/lib/postgresql/data"}],
        }  # fmt: skip
        service = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "postgres"},
            "spec": {"selector": {"app": "postgres"}, "ports": [{"port": 5432}]},
        }  # fmt: skip
        kubectl("create", "namespace", self.namespace).ok()
        # A restart of the node makes the container anew.
        data = [{"name": "data", "emptyDir": {}}]
        objects = [service, workload("postgres", container, volumes=data)]
        kubectl("apply", "-n", self.namespace, "-f-", given=objects).ok()
        until("PostgreSQL to be ready", self.pod)

    def pod(self):
        pods = get("pods", "-n", self.namespace)["items"]
        return next((p["metadata"]["name"] for p in pods if is_ready(p)), None)

    def address(self):
        (pod,) = get("pods", "-n", self.namespace)["items"]
        return pod["status"]["podIP"]

    def ask(self, database, sql):
        psql = ("psql", "-h", "127.0.0.1", "-U", "prefect", "-d", database, "-Atqc", sql)
        return kubectl("exec", "-n", self.namespace, "deployment/postgres", "--", "env", "PGPASSWORD=pw", *psql)

    def query(self, database, sql):
        return self.ask(database, sql).ok().strip()

    def url(self, database, user="prefect:pw", driver="postgresql+asyncpg"):
        return f"{driver}://{user}@{self.host}:5432/{database}"

    def log(self):
        return kubectl("logs", "-n", self.namespace, "deployment/postgres").ok()


def workload(name, container, replicas=1, **pod):
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template,
                 "progressDeadlineSeconds": 3600},
    }  # fmt: skip


def server(name="server", image=OLD, url=None, replicas=1, env=(), more=None, **pod):
    """A Prefect server; its URL from the Secret `db`, as given, or none (an empty string).

    Without its services, which take a processor each. Without registering blocks: replicas that do it at once on an
    empty database stop each other (`uq_block_type__slug`), which is Prefect's own and no part of a migration.
    """
    value = {"valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}
    if url is not None:
        value = {"value": url}
    variables = [] if url == "" else [{"name": URL, **value}]
    container = {
        "name": "server", "image": image, "imagePullPolicy": "IfNotPresent",
        "args": ["prefect", "server", "start", "--host", "0.0.0.0", "--no-services"],
        "env": [*variables, {"name": "DO_NOT_TRACK", "value": "1"},
                {"name": "PREFECT_SERVER_ANALYTICS_ENABLED", "value": "false"},
            {"name": "PREFECT_API_BLOCKS_REGISTER_ON_START", "value": "false"}, *env],
        "readinessProbe": {"httpGet": {"path": "/api/health", "port": 4200}, "timeoutSeconds": 10},
        **(more or {}),
    }  # fmt: skip
    return workload(name, container, replicas, **pod)


class Space:
    """A namespace and a database of one test."""

    def __init__(self, postgres, labels=()):
        self.name = f"e2e-{uuid.uuid4().hex[:8]}"
        self.database, self.postgres = self.name.replace("-", "_"), postgres
        kubectl("create", "namespace", self.name).ok()
        if labels:
            kubectl("label", "namespace", self.name, *labels).ok()
        postgres.query("prefect", f"CREATE DATABASE {self.database}")
        self.secret(postgres.url(self.database))

    def secret(self, url, name="db", key="url"):
        data = {key: base64.b64encode(url.encode()).decode()}
        secret = {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data,
        }  # fmt: skip
        self.apply(secret).ok()

    def kubectl(self, *arguments, given=None):
        return kubectl("--namespace", self.name, *arguments, given=given)

    def apply(self, *objects, flags=()):
        return self.kubectl("apply", *flags, "-f-", given=list(objects))

    def get(self, *what):
        return get("--namespace", self.name, *what)

    def pods(self, app="server"):
        return self.get("pods", "-l", f"app={app}")["items"]

    def up(self, name="server", count=1, image=None):
        """Waits until the Deployment's pods are ready, and all of them of its last revision."""

        def done():
            deployment = self.get(f"deployment/{name}")
            status = deployment.get("status", {})
            seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
            numbers = [status.get(n, 0) for n in ("replicas", "updatedReplicas", "readyReplicas")]
            return seen and numbers == [count] * 3

        until(f"{count} ready pods of {name} in {self.name}", done, within=WAIT * (1 + count // 3))
        if image:
            assert images(self.get(f"deployment/{name}")) == {image}

    def schema(self):
        return self.query("SELECT version_num FROM alembic_version")

    def query(self, sql):
        return self.postgres.query(self.database, sql)

    def migrated(self):
        return self.query("SELECT to_regclass('flow_run')") == "flow_run"

    def end(self):
        self.kubectl("delete", "namespace", self.name, "--wait=false")

    def keep(self, folder):
        """What is needed to understand a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, command in {
            "describe.txt": ("describe", "deployments,replicasets,jobs,pods"),
            "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
            "objects.yaml": ("get", "deployments,pods,jobs", "-oyaml"),
        }.items():
            (folder / name).write_text(self.kubectl(*command).out)
        for pod in self.get("pods")["items"]:
            name = pod["metadata"]["name"]
            for end, flags in (("", ()), (".previous", ("--previous",))):
                log = self.kubectl("logs", name, "--all-containers", "--prefix", *flags)
                (folder / f"{name}{end}.log").write_text(log.out + log.err)


def images(deployment):
    """The images of the migration and of the containers."""
    pod = deployment["spec"]["template"]["spec"]
    ours = [c for c in pod.get("initContainers", []) if c["name"] == MIGRATION]
    assert len(ours) == 1, f"{len(ours)} initContainers {MIGRATION}"
    return {c["image"] for c in [*ours, *pod["containers"]]}
