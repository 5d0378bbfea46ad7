"""The table of docs/emergency.md, row by row: the guard is down while its webhook configurations stand."""

import json
import re

import pytest
import yaml

import cluster
from cluster import LABEL, MIGRATION, NEW, OLD, RELEASE, get, is_ready, kubectl, server, status, until, workload
from probing import watching

RENDERINGS = cluster.ROOT / "tests/fixtures/manifests/chart"
PAGE = (cluster.ROOT / "docs/emergency.md").read_text()
TABLE = [
    tuple(cell.strip().strip("*") for cell in line.split("|")[1:3])
    for line in PAGE.partition("| what | goes on | why |")[2].splitlines()[2:]
    if line.startswith("|")
]
SYNC = "postgresql://a@b/c"
CALL = 'failed calling webhook "validate.prefect-guard.io"'
SLEEP = {"name": "main", "image": cluster.POSTGRES, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}
GROUP = "e2e.example.com"
KINDS = (
    f'kinds=[{{"group":"{GROUP}","versions":["v1"],"kind":"Fleet","resource":"fleets","template":"/spec/template"}}]'
)
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": f"fleets.{GROUP}"},
    "spec": {
        "group": GROUP, "scope": "Namespaced", "names": {"kind": "Fleet", "plural": "fleets", "singular": "fleet"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
            "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}],
    },
}  # fmt: skip
DRY = ("--dry-run=server",)
NOWHERE = {"nodeSelector": {"e2e.example.com/no-such": "node"}}
PROVEN = []


def row(begins, proves):
    """What a test proves: the row of the table that begins so, with that in its cell `goes on`."""
    ((what, goes_on),) = [row for row in TABLE if row[0].startswith(begins)]
    assert goes_on == proves, f"docs/emergency.md, {what}: {goes_on!r}; its test shows {proves!r}"
    PROVEN.append(what)

    def named(test):
        test.__doc__ = f"The guard is down. {what}: {goes_on}."
        return test

    return named


def fleet(name, url=None):
    """An object of a kind that nobody but the policy knows."""
    template = server(url=url)["spec"]["template"]
    return {"apiVersion": f"{GROUP}/v1", "kind": "Fleet", "metadata": {"name": name}, "spec": {"template": template}}


def secret(name, url=SYNC):
    labels = {"prefect-guard.io/database-url": "url"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels},
            "stringData": {"url": url}}  # fmt: skip


def job(name, command, suspend=True):
    container = server()["spec"]["template"]["spec"]["containers"][0] | {"args": None, "command": command}
    container.pop("readinessProbe")
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"suspend": suspend, "template": template}}  # fmt: skip


UPGRADE = job("upgrade", ["prefect", "server", "database", "upgrade", "-y"], suspend=False)


@pytest.fixture(scope="module")
def down(guard, shared):
    """A namespace with what was there before the guard went down, which it then does."""
    kubectl("apply", "-f-", given=[DEFINITION]).ok()
    try:
        values = ("--set", "webhook.secrets.enabled=true", "--set-json", KINDS)
        cluster.install(*values, verb="upgrade").ok()
        prepare(shared)
        cluster.guard_is(0)
        until("the guard to be missed", lambda: CALL in shared.apply(server("second"), flags=DRY).err)
        yield shared
    finally:
        # Both, whatever becomes of the first: the files that follow need the guard.
        deleted = kubectl("delete", "customresourcedefinition", DEFINITION["metadata"]["name"], "--wait=false")
        cluster.install(verb="upgrade").ok()
        deleted.ok()


def prepare(space):
    watching(space)
    until("the webhook of Secrets", lambda: "PSG103" in space.apply(secret("probe"), flags=DRY).err)
    until("the webhook of a kind of one's own", lambda: "PSG103" in space.apply(fleet("probe", SYNC), flags=DRY).err)
    space.apply(UPGRADE).ok()
    until("the Job to be done", lambda: space.get("job/upgrade").get("status", {}).get("succeeded") == 1)
    (container,) = space.get("job/upgrade")["spec"]["template"]["spec"]["containers"]
    assert container["command"] != UPGRADE["spec"]["template"]["spec"]["containers"][0]["command"], "it took no lock"
    space.apply(UPGRADE).ok()
    doomed = server("doomed", replicas=0)
    doomed["metadata"]["finalizers"] = ["e2e.example.com/wait"]
    space.apply(server(), server("idle", **NOWHERE), doomed, secret("rotated", space.postgres.url(space.database))).ok()
    space.left = f"{space.name}-left"
    kubectl("create", "namespace", space.left).ok()
    kubectl("apply", "--namespace", space.left, "-f-", given=[server("gone", replicas=0)]).ok()
    space.up()
    space.before = space.pods()


@row("Pods that run", "yes")
def test_pods(down):
    (before,), (now,) = down.before, down.pods()
    assert now["metadata"]["uid"] == before["metadata"]["uid"]
    assert is_ready(now)
    assert now["status"]["containerStatuses"][0]["restartCount"] == 0
    assert status(down, "server") == (0, {"server": "migrated"})


@row("A Pod that was evicted", "yes")
def test_evicted(down):
    (old, *_) = down.pods()
    name = old["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": down.name}}
    path = f"/api/v1/namespaces/{down.name}/pods/{name}/eviction"
    kubectl("create", "--raw", path, "-f-", given=json.dumps(eviction)).ok()

    def another():
        return [p for p in down.pods() if p["metadata"]["uid"] != old["metadata"]["uid"] and is_ready(p)]

    (pod,) = until("another pod of the server to be ready", another)
    assert MIGRATION in [c["name"] for c in pod["spec"]["initContainers"]]


@row("Anything without Prefect in it", "yes")
def test_others(down):
    down.apply(workload("other", SLEEP)).ok()
    down.kubectl("set", "env", "deployment/other", "A=b").ok()
    down.kubectl("rollout", "restart", "deployment/other").ok()
    down.up("other")


def rendered(name, image):
    """The Deployment of an official chart, without pods."""
    (found,) = [
        item for item in yaml.safe_load_all((RENDERINGS / f"{name}.yaml").read_text())
        if item and item["kind"] == "Deployment"
    ]  # fmt: skip
    found["metadata"].pop("namespace", None)
    found["spec"]["replicas"] = 0
    assert image in found["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


@row("Workers, agents", "yes")
def test_workers(down):
    image = {**SLEEP, "image": OLD}
    agent = workload("agent", image | {"command": None, "args": ["prefect", "agent", "start", "-q", "x"]}, 0)
    serve = workload("serve", image | {"command": ["python", "flow.py"]}, 0)
    started = [rendered("prefect-worker", "prefect"), rendered("prometheus-prefect-exporter", "exporter"), agent, serve]
    down.apply(*started).ok()
    for name in (item["metadata"]["name"] for item in started):
        down.kubectl("set", "env", f"deployment/{name}", "A=b").ok()
        down.kubectl("rollout", "restart", f"deployment/{name}").ok()


@row("Flow runs, CronJobs, and Jobs that are created", "yes")
def test_jobs(down):
    flow = job("flow", ["prefect", "flow-run", "execute"])
    reset = job("reset", ["prefect", "server", "database", "reset", "-y"])
    upgrade = job("another", ["prefect", "server", "database", "upgrade", "-y"])
    nightly = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
               "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": reset["spec"]}}}  # fmt: skip
    down.apply(flow, reset, upgrade, nightly).ok()


@row("A finished Job that took the lock", "no")
def test_locked_job(down):
    down.apply(UPGRADE).refused("immutable")
    down.kubectl("delete", "job/upgrade").ok()
    down.apply(UPGRADE).ok()


@row("Scaling, an autoscaler", "yes")
def test_scaling(down):
    def replicas():
        return down.get("deployment/idle")["spec"]["replicas"]

    down.kubectl("scale", "deployment/idle", "--replicas=3").ok()
    assert replicas() == 3
    # Above its maximum an autoscaler acts at once and asks for no metrics.
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "idle"}
    autoscaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "idle"},
                  "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2}}  # fmt: skip
    down.apply(autoscaler).ok()
    until("the autoscaler to scale the server", lambda: replicas() == 2)


@row("Annotating or labelling a Deployment", "yes")
def test_metadata(down):
    down.kubectl("annotate", "deployment/idle", "a=b").ok()
    down.kubectl("label", "deployment/idle", "a=b").ok()
    status = '{"status": {"collisionCount": 1}}'
    down.kubectl("patch", "deployment/idle", "--subresource=status", "--patch", status).ok()
    seen = down.get("deployment/idle")
    assert seen["status"]["collisionCount"] == 1
    assert seen["metadata"]["annotations"]["a"] == seen["metadata"]["labels"]["a"] == "b"


@row("Deleting, in the foreground too", "yes")
def test_deleting(down):
    kubectl("delete", "namespace", down.left, "--wait=false").ok()
    down.kubectl("delete", "deployment/doomed", "--cascade=foreground", "--wait=false").ok()
    assert down.get("deployment/doomed")["metadata"]["deletionTimestamp"]
    down.kubectl("patch", "deployment/doomed", "--type=merge", "--patch", '{"metadata": {"finalizers": null}}').ok()
    until("the Deployment to be gone", lambda: down.kubectl("get", "deployment/doomed").code)
    until("the namespace to be gone", lambda: kubectl("get", "namespace", down.left).code)


@row("Secrets, with the Secret webhook on", "yes")
def test_secrets(down):
    down.apply(secret("rotated")).ok()
    down.apply(secret("fresh")).ok()


@row("Kinds that you named in `kinds`", "yes, unchecked")
def test_kinds(down):
    down.apply(fleet("bad", SYNC), fleet("good")).ok()
    assert "initContainers" not in down.get("fleet/good")["spec"]["template"]["spec"], "who put it in?"


def failing(calls):
    patch = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": calls}]
    what = ("validatingwebhookconfiguration", RELEASE, "--type=json")
    kubectl("patch", *what, "--patch", json.dumps(patch)).ok()


@row("Injection of the migration", "skipped")
def test_injection(down):
    said = down.apply(server("second")).refused(CALL)
    assert "mutate.prefect-guard.io" not in said
    # Where the next line does not catch it, nothing is put in: that is what failing open means.
    failing(calls="Ignore")
    try:
        until("calls that fail to be ignored", lambda: down.apply(server("second", replicas=0)).code == 0)
    finally:
        failing(calls="Fail")
    assert "initContainers" not in down.get("deployment/second")["spec"]["template"]["spec"]
    until("calls that fail to count again", lambda: down.apply(server("third", replicas=0), flags=DRY).code)


@row("A new Prefect server, or a changed pod template", "refused")
def test_servers(down):
    stateful = server("stateful")
    stateful["kind"] = "StatefulSet"
    del stateful["spec"]["progressDeadlineSeconds"]
    bare = workload("bare", {**SLEEP, "image": OLD, "command": None})
    named = workload("named", {**SLEEP, "name": "server", "image": OLD, "command": ["prefect", "worker", "start"]})
    for wanted in (server("fresh"), stateful, bare, named):
        down.apply(wanted).refused(CALL)
    down.kubectl("rollout", "restart", "deployment/server").refused(CALL)
    down.kubectl("set", "image", "deployment/server", f"server={NEW}").refused(CALL)
    assert cluster.images(down.get("deployment/server")) == {OLD}


# The last one: it brings the guard back.
@row("The guard's own Deployment", "yes")
def test_guard_itself(down):
    guard = ("-n", RELEASE, f"deployment/{RELEASE}")
    kubectl("rollout", "restart", *guard).ok()
    kubectl("set", "image", *guard, "guard=e2e.example.com/none:1").ok()
    kubectl("rollout", "undo", *guard).ok()
    cluster.install(verb="upgrade").ok()
    watching(down)
    assert len(get("pods", "-n", RELEASE, "-l", LABEL, "--field-selector=status.phase=Running")["items"]) >= 2


def test_every_row():
    """Each row of the table in docs/emergency.md has a test of its own."""
    assert len(TABLE) > 10, f"no table found in docs/emergency.md: {TABLE}"
    assert sorted(PROVEN) == sorted(what for what, _ in TABLE)
    assert all(re.fullmatch("yes.*|no|skipped|refused", goes_on) for _, goes_on in TABLE)
