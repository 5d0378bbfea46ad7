"""Migrations that cannot work: the server does not start, and `kubectl describe pod` says why."""

import re

import pytest

from cluster import MIGRATION, NEW, OLD, server, status, until, workload

pytestmark = pytest.mark.usefixtures("guard")

ROLE = "DO $$BEGIN CREATE ROLE {} LOGIN PASSWORD 'pw' {}; EXCEPTION WHEN duplicate_object THEN END$$"


def role(space, name, option=""):
    space.query(ROLE.format(name, option))
    return space.postgres.url(space.database, f"{name}:pw")


def of_another(space):
    space.query("CREATE TABLE alembic_version (version_num text)")
    space.query("INSERT INTO alembic_version VALUES ('of_airflow')")
    return space.postgres.url(space.database)


def silent(space):
    """A port that takes connections and never answers."""
    code = "import socket, time; s = socket.create_server(('', 5432)); time.sleep(3600)"
    ready = {"tcpSocket": {"port": 5432}}
    container = {"name": "silent", "image": OLD, "imagePullPolicy": "IfNotPresent",
                 "command": ["python", "-c", code], "readinessProbe": ready}  # fmt: skip
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "silent"},
               "spec": {"selector": {"app": "silent"}, "ports": [{"port": 5432}]}}  # fmt: skip
    space.apply(workload("silent", container), service).ok()
    space.up("silent")
    return elsewhere(space, f"silent.{space.name}.svc:5432")


def elsewhere(space, address):
    return space.postgres.url(space.database).replace(f"{space.postgres.host}:5432", address)


# What each case gives as the URL, and the words that say what is wrong.
CASES = {
    "a bad password": (
        lambda s: s.postgres.url(s.database, "prefect:canary-pw"), "refuses the password of this user"),
    "a missing database": (lambda s: s.postgres.url("nowhere"), "no database of the URL's name"),
    "a role without rights": (lambda s: role(s, "mouse"), "mouse may not CREATE in schema public"),
    "a role without connections": (lambda s: role(s, "full", "CONNECTION LIMIT 0"), "too many connections"),
    "TLS where there is none": (
        lambda s: s.postgres.url(s.database) + "?ssl=require", "TLS is asked for, and `postgres.e2e-postgres.svc`"),
    "an unknown host": (
        lambda s: elsewhere(s, "no-such-host.invalid:5432"), "host `no-such-host.invalid` is unknown"),
    "a closed port": (lambda s: elsewhere(s, f"{s.postgres.address()}:1"), "connection refused"),
    "a silent port": (silent, "does not answer"),
    "another product's schema": (of_another, "alembic_version here is another product's"),
}  # fmt: skip


def described(space, words):
    """What stands under the state of a container: the script, which is shown too, has all words in it."""

    def probe():
        text = space.kubectl("describe", "pod", "-l", "app=server").ok()
        states = "".join(re.findall(r"^    State:.*?^    Ready:", text, re.DOTALL | re.MULTILINE))
        return text if words in states else None

    return until(f"`kubectl describe pod` to say {words!r}", probe)


@pytest.mark.parametrize("case", CASES)
def test_reason(space, case):
    """The server never starts, and `kubectl describe pod` shows the reason."""
    url, words = CASES[case]
    space.secret(url(space))
    space.apply(server(env=[{"name": "PREFECT_GUARD_WAIT", "value": "1"}])).ok()
    text = described(space, words)
    assert "canary" not in text, "a password is shown"
    (pod,) = space.pods()
    assert not any(s.get("started") for s in pod["status"]["containerStatuses"])
    assert not space.migrated()
    until("`status` to say that it fails", lambda: status(space) == (1, {"server": "failing"}))


def test_sqlite_by_mistake(space):
    """A PostgreSQL named in a variable that Prefect does not read: no server on a throw-away SQLite file."""
    # Where all of the environment comes from a Secret, the webhook cannot see the name.
    space.secret(space.postgres.url(space.database), "env", "PREFECT_DATABASE_CONNECTION_URL")
    space.apply(server(url="", more={"envFrom": [{"secretRef": {"name": "env"}}]})).ok()
    described(space, "PREFECT_DATABASE_CONNECTION_URL names a PostgreSQL")
    assert not space.migrated()


def test_sqlite_from_a_secret(space):
    """A Secret that leads to SQLite does not hold up a server that would start on it."""
    space.secret("sqlite+aiosqlite:////tmp/x.db")
    space.apply(server()).ok()
    space.up(image=OLD)
    assert not space.migrated()


def test_newer_schema(space):
    """Under `on-newer-schema: fail` an older Prefect does not start on a newer schema."""
    space.apply(server(image=NEW)).ok()
    space.up(image=NEW)
    after = space.schema()
    older = server(image=OLD)
    older["spec"]["template"]["metadata"]["annotations"] = {"prefect-guard.io/on-newer-schema": "fail"}
    space.apply(older).ok()

    def failed():
        return any(
            s["name"] == MIGRATION and (s["state"].get("waiting") or s["state"].get("terminated", {}).get("exitCode"))
            and s.get("restartCount")
            for p in space.pods() for s in p["status"].get("initContainerStatuses", [])
        )  # fmt: skip

    until("the older migration to fail", failed)
    assert space.schema() == after
    assert space.get("deployment/server")["status"]["readyReplicas"] == 1, "the newer server went away"
