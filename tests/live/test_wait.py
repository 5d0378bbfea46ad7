"""The container that waits for a Job's migration, and migrates nothing itself."""

import time

import pytest

from migration import MIDWAY, NEWEST, OLDEST, STARTED, guarded, waiting
from services import until

SAYS = "waiting for Job migrate"


@pytest.mark.parametrize("prefect", [OLDEST, MIDWAY, NEWEST])
def test_waits_until_it_is_migrated(database, start, prefect):
    """It waits on an empty database, leaves once the Job is done, and changes nothing."""
    waiters = [start(waiting(), database.url(), prefect) for _ in range(3)]
    for waiter in waiters:
        until(lambda waiter=waiter: SAYS in waiter.output(), 90, "it waits")
        assert "no schema yet" in waiter.output()
    assert not database.tables()
    job = start(guarded(), database.url(), prefect)
    assert job.wait() == 0, job.output()
    assert [waiter.wait(60) for waiter in waiters] == [0] * 3
    for waiter in waiters:
        assert f"as Prefect {prefect} needs it" in waiter.output()
        assert STARTED not in waiter.output()


def test_newer(migrated, start):
    """A newer schema is as good as this image's, unless the policy says otherwise."""
    older = start(waiting(), migrated.url(), MIDWAY)
    strict = start(waiting(on_newer_schema="fail"), migrated.url(), MIDWAY)
    assert (older.wait(), strict.wait()) == (0, 1)
    assert f"newer than Prefect {MIDWAY}" in older.output()


def test_older(database, start):
    """The schema of an older release is not enough: it waits, and says where it is."""
    assert start(guarded(), database.url(), MIDWAY).wait() == 0
    waiter = start(waiting(limit=4), database.url())
    assert waiter.wait() == 1
    assert "the schema is at" in waiter.output() and SAYS in waiter.output()


def test_bound(database, start):
    """It does not wait for ever: exit 1, and the Job and the image in the last lines."""
    waiter = start(waiting(limit=2), database.url())
    assert waiter.wait(60) == 1
    last = waiter.output().splitlines()[-2:]
    assert "Job migrate has not migrated it within 2 s" in last[0], last
    assert f"with this image (Prefect {NEWEST})" in last[1], last


def test_says_so_every_half_minute(database, start):
    """A line each 30 s; without a name it is `the Job that migrates`."""
    waiter = start(waiting(job=None), database.url())
    until(lambda: waiter.output().count("waiting for the Job") == 2, 60, "a line more")
    assert time.monotonic() - waiter.started >= 30
    waiter.terminate()
    assert waiter.wait(5) == 143


def test_another_products(database, start):
    """An `alembic_version` of another product is no schema of Prefect's."""
    database.execute(
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('of_airflow')",
    )
    waiter = start(waiting(limit=2), database.url())
    assert waiter.wait(60) == 1
    assert "another product's" in waiter.output()


def test_no_database(database, start):
    """What is wrong with the connection is said as the migration says it."""
    waiter = start([*waiting(), "--database-timeout=1"], database.url(port=1))
    assert waiter.wait(60) == 1 and "connection refused" in waiter.output()
    other = start(waiting(), database.url(name="none"))
    assert other.wait(60) == 1 and "no database of the URL's name" in other.output()


def test_through_prefect(database, start):
    """Where the environment is unusual it connects as Prefect does."""
    env = {"PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_APPLICATION_NAME": "mine"}
    waiter = start(waiting(), database.url(), **env)
    until(lambda: SAYS in waiter.output(), 90, "it waits")
    assert start(guarded(), database.url()).wait() == 0
    assert waiter.wait(60) == 0, waiter.output()


def test_sqlite(start, tmp_path):
    """On SQLite there is nobody to wait for: it is migrated."""
    waiter = start(waiting(), None)
    assert waiter.wait(60) == 0, waiter.output()
    assert "migrating it here" in waiter.output()
    assert list(tmp_path.rglob("prefect.db")), waiter.output()


def test_url_that_is_not_read(start, database):
    """A PostgreSQL URL under a name that Prefect does not read stops the pod."""
    env = {"PREFECT_DATABASE_CONNECTION_URL": database.url()}
    waiter = start(waiting(), None, **env)
    assert waiter.wait(60) == 1 and "does not read that variable" in waiter.output()
    waiter = start([*waiting(), "--on-sqlite=continue"], None, **env)
    assert waiter.wait(60) == 0, waiter.output()
