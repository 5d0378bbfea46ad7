"""The table of docs/emergency.md, and what brings the guard back."""

import os

import pytest

import cluster
from cluster import LABEL, NEW, OLD, RELEASE, get, kubectl, run, server, until, workload
from probing import Probe, proxy

pytestmark = pytest.mark.usefixtures("guard")
SLEEP = {"name": "main", "image": cluster.POSTGRES, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}


@pytest.fixture
def down():
    cluster.guard_is(0)
    yield
    cluster.guard_is(2)


@pytest.fixture
def running(space):
    """A server that came up before the guard went down."""
    space.apply(server()).ok()
    space.up()
    return space


def test_guard_down(running, down):
    """The guard is down: only a new server, or a changed template of one, is refused; the table's rest goes on."""
    space = running
    worker = workload(
        "worker", {**SLEEP, "image": OLD, "command": None, "args": ["prefect", "worker", "start", "-p", "x"]}
    )
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "flow"},
           "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [
               {**SLEEP, "image": OLD, "command": ["prefect", "server", "database", "reset", "--help"]}]}}}}  # fmt: skip
    space.apply(workload("other", SLEEP), worker, job).ok()
    space.kubectl("rollout", "restart", "deployment/other", "deployment/worker").ok()
    space.kubectl("scale", "deployment/server", "--replicas=2").ok()
    space.kubectl("annotate", "deployment/server", "a=b").ok()
    space.kubectl("label", "deployment/server", "a=b").ok()
    (first, *_) = space.pods()
    space.kubectl("delete", "pod", first["metadata"]["name"]).ok()
    space.up(count=2)
    refused = space.apply(server("second"))
    refused.refused("validate.prefect-guard.io")
    space.kubectl("rollout", "restart", "deployment/server").refused("validate.prefect-guard.io")
    space.kubectl("set", "image", "deployment/server", f"server={NEW}").refused("validate.prefect-guard.io")
    space.kubectl("delete", "deployment/server", "--cascade=foreground").ok()
    kubectl("rollout", "restart", "-n", RELEASE, f"deployment/{RELEASE}").ok()


def test_emergency(running, down):
    """The one command of the emergency page takes the guard out of the way; `helm rollback` brings it back."""
    space = running
    space.apply(server("second")).refused("validate.prefect-guard.io")
    kubectl("delete", cluster.CONFIGURATIONS, "-l", LABEL).ok()
    until("a server to be taken without the guard", lambda: space.apply(server("second", replicas=0)).code == 0)
    cluster.guard_is(2)
    revision = run("helm", "history", RELEASE, "-n", RELEASE, "--max=1", "-ojson").ok()
    assert '"revision":1' in revision
    run("helm", "rollback", RELEASE, "1", "-n", RELEASE, "--force-conflicts").ok()
    watching(space)


def watching(space):
    """Both webhooks answer: the initContainer is put in, and a sync driver is refused."""
    wanted = server("probe")
    bad = server("probe", url="postgresql://a@b/c")

    def probe():
        dry = space.apply(wanted, flags=("--dry-run=server", "-oyaml"))
        return cluster.MIGRATION in dry.out and "PSG103" in space.apply(bad, flags=("--dry-run=server",)).err

    until("both webhooks to answer", probe)


def test_namespace_left_out(space):
    """A namespace with the label is left alone, at once."""
    space.kubectl("label", "namespace", space.name, "prefect-guard.io/enabled=false").ok()
    bad = server(url="postgresql://a@b/c", replicas=0)
    until("the namespace to be left out", lambda: space.apply(bad).code == 0)


def test_guard_rolls(space):
    """While the guard rolls over, no admission fails, and nothing bad is let in."""
    guard = ("-n", RELEASE, f"deployment/{RELEASE}")
    before = guards()
    watching(space)
    with proxy() as port, Probe(port, space) as probe:
        until("the probe to have its first answers", lambda: probe.asked > 10)
        for _ in range(3):
            kubectl("rollout", "restart", *guard).ok()
            run("kubectl", "rollout", "status", *guard, f"--timeout={cluster.WAIT}s", within=cluster.WAIT + 60).ok()
        # The last of the old pods goes on answering for as long as it drains.
        until("the old pods to be gone", lambda: len(guards()) == len(before))
    assert not guards() & before
    assert not probe.wrong, f"{len(probe.wrong)} of {probe.asked} answers are wrong:\n" + "\n".join(probe.wrong)
    print(f"{probe.asked} answers, all of them right; the slowest took {probe.slowest:.2f} s")


def guards():
    """The guard's pods, those that are ending too."""
    return {p["metadata"]["uid"] for p in get("pods", "-n", RELEASE, "-l", LABEL)["items"]}


def test_certificates_deleted(space):
    """The Secret with the certificate is deleted and the guard started anew: a new one is made and trusted."""
    kubectl("delete", "secret", "-n", RELEASE, f"{RELEASE}-tls").ok()
    watching(space)
    cluster.install(verb="upgrade").ok()
    kubectl("rollout", "restart", "-n", RELEASE, f"deployment/{RELEASE}").ok()
    kubectl("rollout", "status", "-n", RELEASE, f"deployment/{RELEASE}", f"--timeout={cluster.WAIT}s").ok()
    watching(space)


def test_control_plane_restarts(running):
    """The control plane restarts: servers run on, the guard answers again by itself."""
    restart = os.environ.get("E2E_RESTART")
    if not restart:
        pytest.skip("E2E_RESTART names no command that restarts the control plane")
    before = running.pods()[0]["metadata"]["uid"]
    run("bash", "-c", restart, within=900).ok()
    until("the API server to answer", lambda: kubectl("get", "--raw=/readyz").code == 0)
    watching(running)
    assert running.pods()[0]["metadata"]["uid"] == before
    assert len(get("pods", "-n", RELEASE, "-l", LABEL)["items"]) == 2
