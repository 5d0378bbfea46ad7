"""The ways out of docs/emergency.md, and back."""

import json

import pytest

import cluster
from cluster import CONFIGURATIONS, LABEL, MIGRATION, RELEASE, get, kubectl, run, server, until
from probing import watching

pytestmark = pytest.mark.usefixtures("guard")
BAD = server("bad", url="postgresql://a@b/c", replicas=0)
DRY = ("--dry-run=server",)
WARN = ("--set", "policy.mode=warn", "--set", "policy.namespaces=null")
VALIDATING = ("validatingwebhookconfiguration", RELEASE)


@pytest.fixture
def back(space):
    """The guard as it was installed, whatever the test has done to it."""
    yield
    cluster.install(verb="upgrade").ok()
    cluster.guard_is(2)
    watching(space)


def upgrade(*values):
    """As the page does it: what was set before stays."""
    command = ("helm", "upgrade", RELEASE, cluster.CHART, "--namespace", RELEASE, "--reset-then-reuse-values")
    return run(*command, *cluster.forced(), *values)


def failure_policy():
    return get(*VALIDATING)["webhooks"][0]["failurePolicy"]


def test_take_it_out(space, back):
    """One command takes the guard out of the way while it is down; `helm rollback` puts it back."""
    cluster.guard_is(0)
    space.apply(server("second")).refused("validate.prefect-guard.io")
    kubectl("delete", CONFIGURATIONS, "-l", LABEL).ok()
    until("a server to be taken without the guard", lambda: space.apply(server("second", replicas=0)).code == 0)
    cluster.guard_is(2)
    roll_back()
    watching(space)


def roll_back():
    """To the current revision, as the page says."""
    history = json.loads(run("helm", "history", RELEASE, "-n", RELEASE, "-ojson").ok())
    (current,) = [r["revision"] for r in history if r["status"] == "deployed"]
    run("helm", "rollback", RELEASE, str(current), "-n", RELEASE, *cluster.forced()).ok()


def test_namespace_left_out(space):
    """A namespace with the label is left alone, at once."""
    space.kubectl("label", "namespace", space.name, "prefect-guard.io/enabled=false").ok()
    until("the namespace to be left out", lambda: space.apply(BAD).code == 0)


def test_one_workload(space):
    """One workload passes by an annotation of its pod template; on the Deployment's own metadata it does nothing."""
    allow = {"prefect-guard.io/allow": "sync-driver"}
    wanted = server("bad", url="postgresql://a@b/c", replicas=0)
    wanted["metadata"]["annotations"] = allow
    space.apply(wanted).refused("PSG103")
    del wanted["metadata"]["annotations"]
    wanted["spec"]["template"]["metadata"]["annotations"] = allow
    space.apply(wanted).ok()


def test_warn_by_helm(space, back):
    """`policy.mode=warn` by helm upgrade: an override that enforces goes on denying until it is dropped too."""
    upgrade("--set", f"policy.namespaces.{space.name}.mode=enforce").ok()
    upgrade(*WARN[:2]).ok()
    assert failure_policy() == "Fail"
    elsewhere = ("--namespace", "default", "apply", *DRY, "-f-")
    until("other namespaces to warn", lambda: kubectl(*elsewhere, given=[BAD]).code == 0)
    space.apply(BAD, flags=DRY).refused("PSG103")
    upgrade(*WARN).ok()
    assert failure_policy() == "Ignore"
    said = until("denials to become warnings", lambda: passed(space))
    assert "PSG103" in said.err
    assert MIGRATION in space.apply(server(), flags=(*DRY, "-oyaml")).ok(), "nothing is put in any more"
    cluster.guard_is(0)
    space.apply(BAD, server("good", replicas=0)).ok()
    space.kubectl("rollout", "restart", "deployment/good").ok()


def passed(space):
    said = space.apply(BAD, flags=DRY)
    return said if said.code == 0 else None


def test_warn_by_kubectl(space, back):
    """The same by two patches of kubectl, without the chart; `helm rollback` puts back what it installed."""
    ignore = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]
    kubectl("patch", *VALIDATING, "--type=json", "-p", json.dumps(ignore)).ok()
    text = "{apiVersion: prefect-guard.io/v1alpha1, kind: Policy, mode: warn}"
    whole = json.dumps({"data": {"policy.yaml": text}})
    kubectl("--namespace", RELEASE, "patch", "configmap", f"{RELEASE}-policy", "--type=merge", "-p", whole).ok()
    assert "PSG103" in until("denials to become warnings", lambda: passed(space)).err
    roll_back()
    assert failure_policy() == "Fail"
    watching(space)


def test_break_glass(space, back):
    """Break-glass: whoever is given the one right passes unasked, cluster administrators too; nobody else does."""
    role, jane = f"{RELEASE}-break-glass", "jane@example.com"
    kubectl("delete", "clusterrolebinding", "e2e-let-me-by", "--ignore-not-found").ok()
    upgrade("--set", "breakGlass.enabled=true").ok()
    space.kubectl("create", "rolebinding", "edit", "--clusterrole=edit", f"--user={jane}").ok()

    def as_jane():
        return space.apply(BAD, flags=(*DRY, f"--as={jane}"))

    said = until("the cluster's administrator to pass", lambda: passed(space))
    assert "PSG103" not in said.err, "asked all the same"
    as_jane().refused("PSG103")
    kubectl("create", "clusterrolebinding", "e2e-let-me-by", f"--clusterrole={role}", f"--user={jane}").ok()
    try:
        until("jane to pass", lambda: as_jane().code == 0)
        cluster.guard_is(0)
        as_jane().ok()
    finally:
        kubectl("delete", "clusterrolebinding", "e2e-let-me-by").ok()
    until("jane not to pass any more", lambda: as_jane().code)
