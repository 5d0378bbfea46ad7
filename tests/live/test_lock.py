"""The lock: who holds it, who waits, and what is left when somebody is killed."""

import signal
import sys
import time

import pytest

from migration import (
    MIDWAY,
    NEWEST,
    OLDEST,
    RECENT,
    STARTED,
    UPGRADE,
    guarded,
)  # fmt: skip
from services import LOCK_HALVES, until

HOLD = ("sleep", "120")
WAITS = "waiting for another pod's migration"
# asyncpg behind a pooler: the settings which Prefect's documentation names.
POOLED = {
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_STATEMENT_CACHE_SIZE": "0",
    "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_PREPARED_STATEMENT_CACHE_SIZE": "0",
}


@pytest.fixture(params=["direct", "pgbouncer"])
def url(request, database):
    """The database's URL, directly and through a pgbouncer in transaction pooling."""
    if request.param == "direct":
        return database.url()
    return database.url(request.getfixturevalue("transaction_pooler").port)


def waits(process, seconds=90):
    until(lambda: WAITS in process.output(), seconds, "it waits")


def after(go, command):
    """The command, once that file is there; until then the lock is held for nothing."""
    return guarded(("sh", "-c", f"until [ -e {go} ]; do sleep 0.1; done; {command}"))


@pytest.mark.parametrize("prefect", [OLDEST, MIDWAY, RECENT, NEWEST])
def test_four_at_once(database, start, note, prefect):
    """Four migrations at once on an empty database: all exit 0, one command runs."""
    pods = [start(guarded(), database.url(), prefect) for _ in range(4)]
    assert [pod.wait() for pod in pods] == [0] * 4, pods[0].output()
    assert sum("upgraded!" in pod.output() for pod in pods) == 1
    assert not database.invalid_indexes() and not database.locks()
    note(f"the last after {max(pod.seconds for pod in pods):.1f} s")


def test_four_at_once_behind_a_pooler(database, start, note, transaction_pooler):
    """Four migrations at once behind pgbouncer in transaction pooling: all exit 0."""
    url = database.url(transaction_pooler.port)
    pods = [start(guarded(), url, **POOLED) for _ in range(4)]
    assert [pod.wait() for pod in pods] == [0] * 4, [pod.output() for pod in pods]
    assert sum(STARTED in pod.output() for pod in pods) == 1
    database.wait_for_no_lock()
    note(f"the last after {max(pod.seconds for pod in pods):.1f} s")


def test_waiter_leaves_without_a_start(database, start, tmp_path):
    """A waiter leaves when the schema is what it needs, and starts no command."""
    go = tmp_path / "go"
    holder = start(after(go, "exec " + " ".join(UPGRADE)), database.url())
    database.wait_for_lock()
    waiter = start(guarded(), database.url())
    waits(waiter)
    go.touch()
    assert waiter.wait() == 0 and holder.wait() == 0
    assert f"as Prefect {NEWEST} needs it" in waiter.output()
    assert STARTED not in waiter.output() and STARTED in holder.output()


def test_waiter_takes_over(url, database, start, note):
    """The holder is killed (-9): the next migrates within 10 s, and no lock is left."""
    holder = start(guarded(HOLD), url)
    database.wait_for_lock()
    waiter = start(guarded(("echo", "my turn")), url)
    waits(waiter)
    killed = time.monotonic()
    holder.kill()
    assert waiter.wait(10) == 0
    assert "my turn" in waiter.output()
    database.wait_for_no_lock()
    note(f"after {time.monotonic() - killed:.1f} s")


def test_killed_half_way(database, start, url, note):
    """A real migration is killed (-9) half-way: the waiter completes it."""
    env = POOLED if url != database.url() else {}
    for _ in range(3):
        holder = start(guarded(), url, **env)
        until(
            lambda tables=database.tables: len(tables()) > 3,
            90,
            "the first tables are there",
        )
        waiter = start(guarded(), url, **env)
        holder.kill()
        if waiter.wait() == 0:
            break
        # Prefect commits some revisions in parts: 605ebb4e9155 adds columns, then leaves its transaction for an index
        # (`autocommit_block`). Killed between, its own upgrade cannot go on either. That was no test of ours: again.
        assert "already exists" in waiter.output(), waiter.output()
        plain = start(UPGRADE, url, **env)
        assert plain.wait() != 0 and "already exists" in plain.output(), plain.output()
        note(
            "killed between two parts of a revision, where the plain call cannot go on either; again"
        )
        database.wait_for_no_lock()
        fresh = database.server.create_database()
        url, database = url.replace(f"/{database.name}", f"/{fresh.name}"), fresh
    assert waiter.wait() == 0, waiter.output()
    assert "Migrations succeeded" in waiter.output()
    assert {"deployment", "flow_run", "automation_bucket"} <= database.tables()
    database.wait_for_no_lock()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_waiter_is_ended(url, database, start, how):
    """A waiter that gets a signal goes at once; the holder keeps the lock, none is left."""
    holder = start(guarded(HOLD), url)
    database.wait_for_lock()
    waiter = start(guarded(), url)
    waits(waiter)
    if how == signal.SIGKILL:
        waiter.kill()  # the kubelet's last word is for all processes of a container
    else:
        waiter.process.send_signal(how)
    assert waiter.wait(5) in (128 + how, -how)
    assert database.locks() == [(*LOCK_HALVES, True)]
    holder.kill()
    database.wait_for_no_lock()


def test_signals_reach_the_command(database, start):
    """SIGTERM reaches the command that runs, and its exit code the kubelet."""
    trap = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(7));"
        "print('ready', flush=True); time.sleep(60)"
    )
    holder = start(guarded((sys.executable, "-c", trap)), database.url())
    until(lambda: "ready" in holder.output(), 90, "the command runs")
    holder.terminate()
    assert holder.wait(5) == 7
    database.wait_for_no_lock()


def test_sigterm_ends_a_real_migration(database, start):
    """SIGTERM ends a real migration; the next one completes it."""
    holder = start(guarded(), database.url())
    until(
        lambda tables=database.tables: len(tables()) > 3,
        90,
        "the first tables are there",
    )
    holder.terminate()
    assert holder.wait(10) != 0
    database.wait_for_no_lock()
    assert start(guarded(), database.url()).wait() == 0


def test_exit_code(database, start):
    """The exit code is the command's."""
    assert start(guarded(("sh", "-c", "exit 42")), database.url()).wait() == 42
    assert start(guarded(("sh", "-c", "exit 0")), database.url()).wait() == 0


def test_interrupted(database, start):
    """Ctrl-C ends a waiter without a traceback."""
    start(guarded(HOLD), database.url())
    database.wait_for_lock()
    waiter = start(guarded(), database.url())
    waits(waiter)
    waiter.process.send_signal(signal.SIGINT)
    assert waiter.wait(5) == 130 and "Traceback" not in waiter.output()


def test_no_such_command(database, start):
    """A command that is not there is named, with exit code 127."""
    process = start(guarded(("prefekt", "server")), database.url())
    assert process.wait() == 127
    assert "cannot run `prefekt`: No such file or directory" in process.output()


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
def test_concurrent_index(url, database, start, note, tmp_path, isolation):
    """An index is built CONCURRENTLY with three waiters: it is done within 30 s.

    CREATE INDEX CONCURRENTLY waits for every transaction that has a snapshot: neither the
    lock's nor a waiter's may have one, even where that is the database's default.
    """
    database.execute(
        "CREATE TABLE big AS SELECT generate_series(1, 200000) AS n",
        f"ALTER DATABASE {database.name} SET default_transaction_isolation = '{isolation}'",
    )
    go = tmp_path / "go"
    dsn = database.url().replace("+asyncpg", "")
    builder = start(
        after(go, 'psql "$DSN" -c "$BUILD"'), url, DSN=dsn,
        BUILD="CREATE INDEX CONCURRENTLY big_n ON big (n)",
    )  # fmt: skip
    database.wait_for_lock()
    query = (
        "SELECT backend_xmin FROM pg_stat_activity WHERE datname = %s AND state LIKE"
        " 'idle in transaction%%'"
    )
    assert database.rows(query, database.name) == [(None,)]
    waiters = [start(guarded(("true",)), url) for _ in range(3)]
    for waiter in waiters:
        waits(waiter)
    begun = time.monotonic()
    go.touch()
    assert builder.wait(30) == 0, builder.output()
    note(f"{time.monotonic() - begun:.1f} s")
    assert not database.invalid_indexes()
    assert [waiter.wait(30) for waiter in waiters] == [0] * 3


def test_timeouts_of_the_database(database, start):
    """Timeouts that end idle transactions do not take the lock away."""
    database.execute(
        f"ALTER DATABASE {database.name} SET idle_in_transaction_session_timeout = '500ms'"
    )
    holder = start(guarded(("sleep", "4")), database.url())
    database.wait_for_lock()
    time.sleep(2)
    assert database.locks() == [(*LOCK_HALVES, True)]
    assert holder.wait(10) == 0


def test_two_databases_do_not_meet(database, postgres, start):
    """Two Prefects on one PostgreSQL server do not wait for each other."""
    start(guarded(HOLD), database.url())
    database.wait_for_lock()
    other = start(guarded(("echo", "at once")), postgres.create_database().url())
    assert other.wait(15) == 0
    assert "at once" in other.output() and WAITS not in other.output()


def test_the_lock_is_named(database, start):
    """A database administrator can tell who holds the lock."""
    start(guarded(HOLD), database.url())
    database.wait_for_lock()
    query = "SELECT application_name, state FROM pg_stat_activity WHERE datname = %s"
    seen = ("prefect-guard migration", "idle in transaction")
    until(lambda: seen in database.rows(query, database.name), 5, "the name is there")


def test_the_server_logs_no_error(postgres, start, tmp_path):
    """Waiting and looking leave no error in PostgreSQL's own log."""
    database = postgres.create_database()
    before = len(postgres.log.read_text())
    go = tmp_path / "go"
    holder = start(after(go, "true"), database.url())
    database.wait_for_lock()
    waiter = start(guarded(("true",)), database.url())
    waits(waiter)
    go.touch()
    assert (holder.wait(), waiter.wait()) == (0, 0)
    logged = postgres.log.read_text()[before:]
    assert "ERROR" not in logged and "FATAL" not in logged
