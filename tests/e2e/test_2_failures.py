"""Migrations that cannot work: the server does not start, and `kubectl describe pod` says why."""

import pytest

from cluster import MIGRATION, NEW, OLD, server, until

pytestmark = pytest.mark.usefixtures("guard")

CASES = {
    "a bad password": ("prefect:wrong", None, "password authentication failed"),
    "a missing database": ("prefect:pw", "nowhere", "does not exist"),
    "a role without rights": ("mouse:pw", None, "permission denied"),
}


def described(space, words):
    def probe():
        pods = space.pods()
        text = space.kubectl("describe", "pod", "-l", "app=server").ok()
        return text if pods and words in text else None

    return until(f"`kubectl describe pod` to say {words!r}", probe)


@pytest.mark.parametrize("case", CASES)
def test_reason(space, case):
    """The server never starts, and `kubectl describe pod` shows the reason."""
    user, database, words = CASES[case]
    if user.startswith("mouse"):
        space.query("DO $$BEGIN CREATE ROLE mouse LOGIN PASSWORD 'pw'; EXCEPTION WHEN duplicate_object THEN END$$")
    space.secret(space.postgres.url(database or space.database, user))
    space.apply(server()).ok()
    text = described(space, words)
    assert "wrong" not in text, "a password is shown"
    (pod,) = space.pods()
    assert not any(s.get("started") for s in pod["status"]["containerStatuses"])
    assert not space.migrated()


def test_sqlite_from_a_secret(space):
    """A Secret that leads to SQLite: exit 1 with a sentence, and no server on a throw-away file."""
    space.secret("sqlite+aiosqlite:////tmp/x.db")
    space.apply(server()).ok()
    described(space, "no setting of a PostgreSQL URL reaches Prefect")


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
