"""Where there is no lock to be had, nothing to migrate, or nothing that may be migrated."""

import pytest

from migration import (
    MIDWAY,
    NEWEST,
    OLDEST,
    PREFECT_2,
    STARTED,
    UPGRADE,
    URL,
    guarded,
)  # fmt: skip

UNLOCKED = "migrating without one"
NEEDED = "as Prefect {} needs it"
TLS = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_"
SEARCH_PATH = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_SEARCH_PATH"


@pytest.mark.parametrize("prefect", [OLDEST, NEWEST, PREFECT_2])
@pytest.mark.parametrize(
    "url",
    [
        pytest.param(None, id="nothing set"),
        pytest.param("sqlite+aiosqlite:////tmp/prefect.db", id="a SQLite URL"),
    ],
)
def test_sqlite(start, tmp_path, prefect, url):
    """Prefect resolves to SQLite: the plain upgrade runs, and the log says so."""
    process = start(guarded(), url and url.replace("/tmp", str(tmp_path)), prefect)
    assert process.wait() == 0, process.output()
    assert "it uses SQLite: migrating without a lock" in process.output()
    assert STARTED in process.output() or "upgraded!" in process.output()


def test_postgresql_that_is_not_read(database, start):
    """A variable that names a PostgreSQL and that this Prefect does not read: exit 1, and a
    sentence that names it; where the author has exempted the server, the upgrade runs."""
    stopped = start(guarded(), None, OLDEST, **{URL: database.url()})
    assert stopped.wait() == 1 and STARTED not in stopped.output()
    assert f"{URL} names a PostgreSQL; Prefect {OLDEST} uses SQLite" in stopped.output()
    command = [*guarded()[:3], "--on-sqlite=continue", *guarded()[3:]]
    exempted = start(command, None, OLDEST, **{URL: database.url()})
    assert exempted.wait() == 0 and not database.tables()


@pytest.mark.parametrize("prefect", [OLDEST, MIDWAY])
def test_newer_schema(migrated, start, prefect):
    """The schema is newer than the image: `continue` says so and exits 0, `fail` fails."""
    older = start(guarded(), migrated.url(), prefect)
    strict = start(guarded(on_newer_schema="fail"), migrated.url(), prefect)
    assert older.wait() == 0
    assert f"newer than Prefect {prefect}: nothing to migrate" in older.output()
    assert STARTED not in older.output()
    assert strict.wait() == 1
    assert "Can't locate revision identified by" in strict.output()


def test_schema_of_another(database, start):
    """Another product's `alembic_version` is not taken for a newer schema of Prefect's."""
    database.execute(
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('of_airflow')",
    )
    process = start(guarded(), database.url())
    assert process.wait() == 1
    assert "Can't locate revision identified by 'of_airflow'" in process.output()


def test_at_head(migrated, start, note):
    """The schema is what the image needs: exit 0 without a start of the command."""
    again = start(guarded(), migrated.url())
    assert again.wait() == 0
    assert NEEDED.format(NEWEST) in again.output() and STARTED not in again.output()
    plain = start(UPGRADE, migrated.url())
    assert plain.wait() == 0
    note(f"{again.seconds:.1f} s, the plain call {plain.seconds:.1f} s")


def test_prefect_2(database, start):
    """Prefect 2, which the script was not made for, migrates all the same."""
    first = start(guarded(), database.url(), PREFECT_2)
    assert first.wait() == 0 and "upgraded!" in first.output()
    again = start(guarded(), database.url(), PREFECT_2)
    assert again.wait() == 0 and "upgraded!" not in again.output()


def fails(process, reason):
    assert process.wait(60) == 1
    assert UNLOCKED in process.output() and reason in process.output()[-2048:]


def a_role(database):
    """A user who may connect and nothing more."""
    name = f"poor_{database.name}"
    database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'canary'")
    return name


def test_no_create_privilege(database, start):
    """No CREATE privilege: the migration fails under the lock, its reason in the last lines."""
    url = database.url(user=a_role(database), password="canary")
    process = start(guarded(), url)
    assert process.wait(60) == 1
    last = process.output()[-2048:]
    assert "permission denied for schema public" in last
    database.wait_for_no_lock()


def test_unreadable_version(migrated, start):
    """A role that may not read `alembic_version`: the plain call says so itself."""
    url = migrated.url(user=a_role(migrated), password="canary")
    fails(start(guarded(), url), "permission denied for table alembic_version")


def test_bad_settings(start):
    """Settings that Prefect refuses: the plain call fails with Prefect's own words."""
    for url, reason in (
        ("mysql+aiomysql://u:hunter2-canary@h/db", "database configuration"),
        ("postgresql://u:hunter2-canary@h/db", "No module named 'psycopg'"),
    ):
        fails(start(guarded(), url), reason)


def test_statement_pooling(database, start, statement_pooler):
    """A pooler that allows no transactions: the command runs without the lock."""
    url = database.url(statement_pooler.port)
    process = start(guarded(("echo", "runs all the same")), url)
    assert process.wait(60) == 0
    assert UNLOCKED in process.output() and "runs all the same" in process.output()


def test_no_prefect_in_this_python(database, start):
    """A Python without Prefect: the command runs without the lock."""
    command = ["/usr/bin/python3", *guarded(("echo", "runs all the same"))[1:]]
    process = start(command, database.url())
    assert process.wait(60) == 0
    assert UNLOCKED in process.output() and "runs all the same" in process.output()


def test_modules_of_the_working_directory(database, start, tmp_path):
    """Modules in the working directory are not taken for the image's."""
    (tmp_path / "home").mkdir()
    for name in ("asyncio", "prefect", "alembic", "sqlalchemy"):
        (tmp_path / f"home/{name}.py").write_text(
            "raise SystemExit('the wrong module')"
        )
    process = start(guarded(("echo", "fine")), database.url())
    assert process.wait(60) == 0
    assert UNLOCKED not in process.output() and "fine" in process.output()


def test_search_path(database, start):
    """A schema set by `search_path` is the one that is looked at."""
    database.execute("CREATE SCHEMA own")
    env = {SEARCH_PATH: "own,public"}
    assert start(guarded(), database.url(), **env).wait() == 0
    again = start(guarded(), database.url(), **env)
    assert again.wait() == 0 and NEEDED.format(NEWEST) in again.output()
    assert database.rows("SELECT to_regclass('own.alembic_version') IS NOT NULL") == [
        (True,)
    ]


def test_tls(database, postgres, start):
    """TLS as set for Prefect serves the lock too; it goes with its holder."""
    env = {TLS + "ENABLED": "true", TLS + "CA_FILE": str(postgres.ca)}
    holder = start(guarded(("sleep", "120")), database.url(), **env)
    database.wait_for_lock()
    query = (
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE datname = %s AND state = 'idle in transaction'"
    )
    assert database.rows(query, database.name) == [(True,)]
    holder.kill()
    database.wait_for_no_lock()
    wrong = {**env, TLS + "CA_FILE": "/etc/hostname"}
    process = start(guarded(), database.url(), **wrong)
    assert process.wait(60) == 1 and "no TLS with" in process.output()[-2048:]
