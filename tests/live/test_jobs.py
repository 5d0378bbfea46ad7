"""A hook's Job beside the initContainers of a server, the bounds of a migration, its preview."""

import json
import subprocess

import pytest
import yaml

from guard import binary
from migration import (
    MIDWAY,
    NEWEST,
    OLDEST,
    ROOT,
    SCRIPT,
    STARTED,
    UPGRADE,
    URL,
    guarded,
)  # fmt: skip
from podrunner import Cluster
from services import until

ROUNDS = 5
CHART = ROOT / "tests/fixtures/manifests/job/helm-2026-db-migrations-job.yaml"
# Debian 12's sh does not know the `pipefail` of the chart's script.
SHELL = {"command": ["/bin/bash", "-c"]}
PLAIN = {"command": None, "args": list(UPGRADE)}


def job_line(guard, change):
    """The command line that the webhook gives to the official chart's Job."""
    job = yaml.safe_load(CHART.read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container |= {"image": f"prefecthq/prefect:{NEWEST}-python3.11"} | change
    before = [*(container["command"] or []), *container["args"]]
    (stored,) = guard.admit(job)["spec"]["template"]["spec"]["containers"]
    line = [*(stored.get("command") or []), *stored["args"]]
    assert line != before and SCRIPT in line
    assert stored["terminationMessagePolicy"] == "FallbackToLogsOnError"
    return line


@pytest.mark.parametrize("change", [SHELL, PLAIN], ids=["the chart's script", "plain"])
def test_job_beside_init_containers(guard, postgres, start, forks, note, change):
    """The official chart's Job and eight initContainers at once on an empty database, five rounds: none fails."""
    slowest, job = 0, job_line(guard, change)
    for number in range(ROUNDS):
        database = postgres.create_database()
        lines = [job, *[guarded()] * 8]
        # From the second round on as forks, which are at the database nearer together.
        pods = [
            start(line, database.url(), forks=forks if number else None)
            for line in lines
        ]
        assert [pod.wait() for pod in pods] == [0] * 9, [pod.output() for pod in pods]
        assert sum(STARTED in pod.output() for pod in pods) == 1
        assert not database.invalid_indexes() and not database.locks()
        slowest = max(slowest, *(pod.seconds for pod in pods))
    note(f"0 of {9 * ROUNDS} failed; the last after {slowest:.1f} s")


def made(*options):
    """The Job that `prefect-guard job` makes of a server's manifest."""
    reference = {"secretKeyRef": {"name": "database", "key": "url"}}
    container = {
        "name": "api",
        "image": f"prefecthq/prefect:{NEWEST}-python3.11",
        "args": ["prefect", "server", "start", "--host", "0.0.0.0"],
        "env": [{"name": URL, "valueFrom": reference}],
    }
    server = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "data"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    run = subprocess.run(
        [binary(), "job", "-", *options], input=json.dumps(server),
        check=True, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return yaml.safe_load(run.stdout)


def test_made_job(database, pod):
    """The Job that `job` makes migrates; that of `job --plan` says what would run, and changes nothing."""
    cluster = Cluster({"database": {"url": database.url()}})
    plan = pod(made("--plan"), cluster).start()
    assert plan.wait(120) == 0, plan.log()
    assert "revisions to run, from an empty schema" in plan.log()
    assert not database.tables()
    job = pod(made("--hook", "argocd"), cluster).start()
    assert job.wait(240) == 0, job.log()
    assert {"deployment", "flow_run"} <= database.tables()
    again = pod(made(), cluster).start()
    assert again.wait(120) == 0 and f"as Prefect {NEWEST} needs it" in again.log()


def test_made_job_that_fails(database, pod):
    """A Job that fails shows why in its termination message."""
    cluster = Cluster({"database": {"url": database.url(password="wrong-canary@")}})
    job = pod(made(), cluster).start()
    assert job.wait(120) == 1
    assert "refuses the password of this user" in job.message()


def test_lock_timeout(database, start):
    """Another pod's migration is waited for no longer than the policy says."""
    start(guarded(("sleep", "60")), database.url())
    database.wait_for_lock()
    waiter = start([*guarded()[:3], "--lock-timeout=2", *UPGRADE], database.url())
    assert waiter.wait(60) == 1
    assert "another pod's migration did not end within" in waiter.output()


@pytest.mark.parametrize(
    ("prefect", "name"),
    [
        (OLDEST, "PREFECT_API_DATABASE_TIMEOUT"),
        (MIDWAY, "PREFECT_API_DATABASE_TIMEOUT"),
        (NEWEST, "PREFECT_SERVER_DATABASE_MIGRATION_TIMEOUT"),
    ],
)
def test_statement_timeout(database, start, prefect, name):
    """The policy's bound reaches Prefect under the name it reads, whatever the server has."""
    shown = ("sh", "-c", f"echo bound $${name}".replace("$$", "$"))
    command = [*guarded()[:3], "--statement-timeout=77", *shown]
    process = start(command, database.url(), prefect, **{name: "3"})
    assert process.wait() == 0 and "bound 77" in process.output(), process.output()


def test_ten_seconds_are_raised(database, start):
    """Before 3.8 the bound of 10 s is raised, unless the author has set one."""
    shown = ("sh", "-c", "echo bound $PREFECT_API_DATABASE_TIMEOUT")
    process = start(guarded(shown), database.url(), MIDWAY)
    assert process.wait() == 0 and "bound 3600" in process.output()
    env = {"PREFECT_API_DATABASE_TIMEOUT": "25"}
    process = start(guarded(shown), database.url(), MIDWAY, **env)
    assert process.wait() == 0 and "bound 25" in process.output()


@pytest.mark.parametrize("prefect", [OLDEST, MIDWAY, NEWEST])
def test_preview(database, start, prefect):
    """The preview says what would run, and changes nothing."""
    plan = [*guarded()[:3], "--plan=only", *UPGRADE]
    empty = start(plan, database.url(), prefect)
    assert empty.wait() == 0, empty.output()
    assert "revisions to run, from an empty schema" in empty.output()
    assert not database.tables() and not database.locks()
    if prefect == NEWEST:
        assert start(guarded(), database.url(), MIDWAY).wait() == 0
        before = database.rows("SELECT * FROM alembic_version")
        older = start(plan, database.url())
        assert older.wait() == 0 and "revisions to run, from" in older.output()
        assert database.rows("SELECT * FROM alembic_version") == before
        assert STARTED not in older.output()


def test_preview_while_another_migrates(database, start):
    """A preview takes no lock and waits for none."""
    start(guarded(("sleep", "60")), database.url())
    database.wait_for_lock()
    plan = start([*guarded()[:3], "--plan=only", *UPGRADE], database.url())
    assert plan.wait(60) == 0


def test_no_preview(start, database):
    """Where there is none to be had, nothing is migrated all the same."""
    sqlite = start([*guarded()[:3], "--plan=only", *UPGRADE], None)
    assert sqlite.wait() == 1 and STARTED not in sqlite.output()
    until(lambda: "no preview" in sqlite.output(), 5, "it says so")
