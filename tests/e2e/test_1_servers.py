"""Prefect servers that come up, migrated before they start."""

import pytest
import yaml

import cluster
from cluster import MIGRATION, NEW, OLD, server, status, until

pytestmark = pytest.mark.usefixtures("guard")
RENDERINGS = cluster.ROOT / "tests/fixtures/manifests/chart"


def test_sync_driver(space):
    """A synchronous driver is refused, with what to write instead."""
    url = space.postgres.url(space.database, driver="postgresql")
    space.apply(server(url=url)).refused("PSG103", "postgresql+asyncpg://")
    assert not space.get("deployments")["items"]


def test_no_url(space):
    """A server without a database URL is refused."""
    space.apply(server(url="")).refused("denied the request", "PSG10")


def test_without_us(unwatched):
    """Where the guard does not watch, PostgreSQL logs that `flow_run` does not exist."""
    off = {"name": "PREFECT_API_DATABASE_MIGRATE_ON_START", "value": "false"}
    services = {"args": ["prefect", "server", "services", "start"], "readinessProbe": None}
    unwatched.apply(server(env=[off], more=services)).ok()
    missing = 'relation "flow_run" does not exist'
    until(f"`{missing}` in PostgreSQL's log", lambda: missing in unwatched.postgres.log())
    assert not unwatched.migrated()
    assert status(unwatched) == (1, {"server": "not-guarded"})


def test_secret_server(space):
    """A server with its URL from a Secret comes up on an empty database, migrated by the initContainer."""
    space.apply(server()).ok()
    space.up(image=OLD)
    (pod,) = space.pods()
    (state,) = [s for s in pod["status"]["initContainerStatuses"] if s["name"] == MIGRATION]
    assert state["state"]["terminated"]["exitCode"] == 0
    assert space.migrated()
    assert status(space) == (0, {"server": "migrated"})


def test_six_at_once(space):
    """Six replicas at once on an empty database: one migrates, all come up, no initContainer fails."""
    space.apply(server(replicas=6)).ok()
    until("`status` to say that it migrates", lambda: status(space) == (3, {"server": "migrating"}))
    space.up(count=6)
    assert status(space) == (0, {"server": "migrated"})
    states = [s for p in space.pods() for s in p["status"]["initContainerStatuses"]]
    assert [s["restartCount"] for s in states] == [0] * 6


def test_upgrade_and_rollback(space):
    """`set image`, apply and server-side apply move the initContainer along; `rollout undo` goes back.

    The older server starts on the newer schema only where Prefect does not migrate by itself (docs/rollback.md).
    """
    off = [{"name": "PREFECT_API_DATABASE_MIGRATE_ON_START", "value": "false"}]
    space.apply(server(env=off)).ok()
    space.up(image=OLD)
    before = space.schema()
    space.kubectl("set", "image", "deployment/server", f"server={NEW}").ok()
    space.up(image=NEW)
    after = space.schema()
    assert after != before, "both images have one schema: choose others"
    space.kubectl("rollout", "undo", "deployment/server").ok()
    space.up(image=OLD)
    assert space.schema() == after
    space.apply(server(image=NEW, env=off)).ok()
    space.up(image=NEW)
    applied = space.apply(server(image=OLD, env=off), flags=("--server-side", "--force-conflicts"))
    applied.ok()
    space.up(image=OLD)


def rendering(name, space, *, env=()):
    """The chart's server objects, in the test's namespace and with its images; no Redis is there."""
    objects, job = [], None
    for item in yaml.safe_load_all((RENDERINGS / f"{name}.yaml").read_text()):
        if not item or "prefect-server" not in item["metadata"]["name"]:
            continue
        item["metadata"]["namespace"] = space.name
        if item["kind"] in ("Deployment", "Job"):
            for container in item["spec"]["template"]["spec"]["containers"]:
                container["image"] = OLD
                container["env"] = [
                    e for e in container["env"]
                    if "REDIS" not in e["name"] and "prefect_redis" not in e.get("value", "")
                ] + [{"name": "DO_NOT_TRACK", "value": "1"}, *env]  # fmt: skip
                container["resources"] = {}
                for probe in ("startupProbe", "livenessProbe"):
                    container.pop(probe, None)
        if item["kind"] == "Job":
            job = item
            # Debian 12's sh does not know the `pipefail` of the chart's script.
            item["spec"]["template"]["spec"]["containers"][0]["command"] = ["/bin/bash", "-c"]
        elif item["kind"] != "Secret":
            objects.append(item)
    space.secret(space.postgres.url(space.database), "prefect-server-postgresql-connection", "connection-string")
    return objects, job


def test_chart_default(space):
    """The official chart's default rendering comes up: one Deployment, non-root, read-only root file system."""
    objects, _ = rendering("server-default", space)
    space.apply(*objects).ok()
    space.up("prefect-server", image=OLD)
    assert space.migrated()


def test_chart_services_apart(space):
    """The official chart with services apart: both Deployments and its hook Job at once, all end well."""
    objects, job = rendering("server-background-services", space)
    space.apply(*objects, job).ok()
    for name in ("prefect-server", "prefect-server-background-services"):
        space.up(name, image=OLD)
    until(
        "the chart's migration Job to complete",
        lambda: space.get("job/prefect-server-db-migrations").get("status", {}).get("succeeded") == 1,
    )


def test_sqlite_on_a_claim(space):
    """SQLite on a claim: the initContainer runs the plain upgrade, and the server comes up."""
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }  # fmt: skip
    mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    wanted = server(url="sqlite+aiosqlite:////data/prefect.db", more=mounts, volumes=volumes)
    wanted["spec"]["strategy"] = {"type": "Recreate"}
    space.apply(claim, wanted).ok()
    space.up(image=OLD)
    assert status(space) == (0, {"server": "migrated"})


def test_restricted(space):
    """Restricted Pod Security, quota and limit range: the initContainer is admitted and works."""
    space.kubectl("label", "namespace", space.name, "pod-security.kubernetes.io/enforce=restricted").ok()
    space.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
         "spec": {"hard": {"pods": "4", "limits.memory": "6Gi", "requests.cpu": "2"}}},
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"},
         "spec": {"limits": [{"type": "Container", "default": {"memory": "1500Mi"},
                              "defaultRequest": {"cpu": "50m", "memory": "128Mi"}}]}},
    ).ok()  # fmt: skip
    tight = {
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
                            "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }  # fmt: skip
    pod = {"runAsNonRoot": True, "runAsUser": 1001, "seccompProfile": {"type": "RuntimeDefault"}}
    env = [{"name": n, "value": "/tmp"} for n in ("HOME", "PREFECT_HOME", "PREFECT_UI_STATIC_DIRECTORY")]
    scratch = [{"name": "scratch", "emptyDir": {}}]
    space.apply(server(env=env, more=tight, securityContext=pod, volumes=scratch)).ok()
    space.up(image=OLD)
    assert space.migrated()
