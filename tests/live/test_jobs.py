"""A hook's Job beside the initContainers of a server, the bounds of a migration, its preview."""

import pytest

from migration import MIDWAY, NEWEST, OLDEST, SCRIPT, STARTED, UPGRADE, URL, guarded
from services import until

ROUNDS = 5
VALUE = "postgresql+asyncpg://prefect@db.example/prefect"


def job_line(guard):
    """The command line that the webhook gives to a hook's Job."""
    container = {"name": "migrate", "image": f"prefecthq/prefect:{NEWEST}-python3.11"}
    container |= {"args": list(UPGRADE), "env": [{"name": URL, "value": VALUE}]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "namespace": "data"},
    }
    stored = guard.admit(job | {"spec": {"template": {"spec": spec}}})
    (stored,) = stored["spec"]["template"]["spec"]["containers"]
    line = [*stored.get("command", []), *stored["args"]]
    assert line != list(UPGRADE) and line[2] == SCRIPT
    return line


def test_job_beside_init_containers(guard, postgres, start, note):
    """A Job and eight initContainers at once on an empty database, five rounds: none fails."""
    slowest, job = 0, job_line(guard)
    for _ in range(ROUNDS):
        database = postgres.create_database()
        lines = [job, *[guarded()] * 8]
        pods = [start(line, database.url()) for line in lines]
        assert [pod.wait() for pod in pods] == [0] * 9, [pod.output() for pod in pods]
        assert sum(STARTED in pod.output() for pod in pods) == 1
        assert not database.invalid_indexes() and not database.locks()
        slowest = max(slowest, *(pod.seconds for pod in pods))
    note(f"0 of {9 * ROUNDS} failed; the last after {slowest:.1f} s")


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
