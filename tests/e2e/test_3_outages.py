"""The guard rolls over, loses its certificates, and the control plane restarts: it comes back by itself."""

import json
import os

import pytest

import cluster
from cluster import LABEL, RELEASE, get, is_ready, kubectl, run, server, until
from probing import Probe, proxy, watching

pytestmark = pytest.mark.usefixtures("guard")


@pytest.fixture
def running(space):
    """A server that came up before the guard went down."""
    space.apply(server()).ok()
    space.up()
    return space


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


def bundles():
    """The CA that the API server trusts, of each webhook; nothing for one that was wiped."""
    return [
        hook["clientConfig"].get("caBundle", "")
        for what in cluster.CONFIGURATIONS.split(",") for hook in get(what, RELEASE)["webhooks"]
    ]  # fmt: skip


def wipe_bundles():
    for what in cluster.CONFIGURATIONS.split(","):
        hooks = get(what, RELEASE)["webhooks"]
        patch = [{"op": "remove", "path": f"/webhooks/{n}/clientConfig/caBundle"} for n in range(len(hooks))]
        kubectl("patch", what, RELEASE, "--type=json", "--patch", json.dumps(patch)).ok()


def certificate():
    """The certificate in the guard's Secret, if there is one."""
    said = kubectl("get", "secret", "-n", RELEASE, f"{RELEASE}-tls", "-ojson")
    return json.loads(said.out).get("data", {}).get("tls.crt") if said.code == 0 else None


def test_certificates_deleted(space):
    """The Secret with the certificate is deleted: the guard serves on and puts a wiped `caBundle` right.

    After an upgrade and a restart a new one is made and trusted.
    """
    old = until("the guard to have a certificate", certificate)
    kubectl("delete", "secret", "-n", RELEASE, f"{RELEASE}-tls").ok()
    assert certificate() is None
    watching(space)
    wipe_bundles()
    # The API server may go on with the one it knew: that both webhooks answer is not enough.
    until("each `caBundle` to be put right", lambda: all(bundles()))
    watching(space)
    before = set(bundles())
    cluster.install(verb="upgrade").ok()
    kubectl("rollout", "restart", "-n", RELEASE, f"deployment/{RELEASE}").ok()
    kubectl("rollout", "status", "-n", RELEASE, f"deployment/{RELEASE}", f"--timeout={cluster.WAIT}s").ok()
    until("another certificate", lambda: certificate() not in (None, old))
    until("its CA in each `caBundle`", lambda: all(bundles()) and before.isdisjoint(bundles()))
    watching(space)


def test_control_plane_restarts(running):
    """The control plane restarts, its node too where both are one: the guard answers again by itself, servers run."""
    restart = os.environ.get("E2E_RESTART")
    if not restart:
        pytest.skip("E2E_RESTART names no command that restarts the control plane")
    before = running.pods()[0]["metadata"]["uid"]
    run("bash", "-c", restart, within=900).ok()
    until("the API server to answer", lambda: kubectl("get", "--raw=/readyz").code == 0)
    watching(running)
    until("PostgreSQL to answer", lambda: running.postgres.ask(running.database, "SELECT 1").code == 0)

    def up():
        return all(map(is_ready, running.pods())) and cluster.status(running) == (0, {"server": "migrated"})

    until("the server to run again", up)
    assert running.pods()[0]["metadata"]["uid"] == before
    assert len(guards()) == 2
