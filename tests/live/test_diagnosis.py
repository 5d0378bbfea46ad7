"""What the container says at the end of its log where the migration cannot be."""

import contextlib
import socket
import threading

import pytest

from migration import MIDWAY, NEWEST, STARTED, guarded
from services import HOST, Postgres, until

WAIT = 1


def says(process, *words, code=1):
    """The last lines that `kubectl describe pod` shows hold these words."""
    assert process.wait(120) == code, process.output()
    last = process.output()[-700:]
    assert all(word in last for word in words), process.output()


def test_unknown_host(database, start):
    """An unknown host is named."""
    url = database.url().replace(HOST, "no-such-host.invalid")
    says(start(guarded(wait=WAIT), url), "host `no-such-host.invalid` is unknown")


def test_refused(database, start):
    """A port where nothing listens; the server's environment says how long to wait."""
    process = start(guarded(), database.url(port=1), PREFECT_GUARD_WAIT="1")
    says(process, "connection refused")
    assert process.seconds < 45


def test_timed_out(database, start):
    """A server that never answers."""
    with socket.socket() as silent:
        silent.bind((HOST, 0))
        silent.listen()
        port = silent.getsockname()[1]
        says(start(guarded(wait=WAIT), database.url(port=port)), "does not answer")


def test_bad_password(database, start):
    """A wrong password."""
    url = database.url(password="wrong-canary@")
    says(start(guarded(), url), "refuses the password of this user")


def test_missing_database(database, start):
    """A database that is not there, and the names that look like it."""
    url = database.url(name=database.name.replace("test", "tets"))
    says(start(guarded(), url), "no database of the URL's name", f"`{database.name}`")


def test_tls_not_offered(database, start, transaction_pooler):
    """TLS is asked for where none is offered."""
    url = database.url(transaction_pooler.port) + "?ssl=require"
    says(start(guarded(), url), "TLS is asked for, and `127.0.0.1` does not offer it")


def test_tls_demanded(open_directory, start):
    """TLS is demanded by the server."""
    server = Postgres(open_directory()).start()
    try:
        database = server.create_database()
        rules = server.data / "pg_hba.conf"
        rules.write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        database.execute("SELECT pg_reload_conf()")
        url = database.url() + "?ssl=disable"
        says(start(guarded(), url), "demands TLS")
    finally:
        server.stop()


def a_role(database, *grants):
    name = f"role_{database.name}"
    database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'canary'", *grants)
    return name


def test_no_create(database, start):
    """A role that may not CREATE, and the GRANT that lets it."""
    role = a_role(database)
    process = start(guarded(), database.url(user=role, password="canary"))
    grant = f'GRANT CREATE ON SCHEMA "public" TO "{role}";'
    says(process, f"{role} may not CREATE in schema public", grant)
    # The command to run is right; pg_trgm is a trusted extension, which takes CREATE there.
    database.execute(grant, f"GRANT CREATE ON DATABASE {database.name} TO {role}")
    again = start(guarded(), database.url(user=role, password="canary"))
    assert again.wait() == 0, again.output()


class Renamed:
    """A PostgreSQL that says it is of another major version: a proxy that changes the one
    message which says so."""

    def __init__(self, port, before, after):
        self.port, self.socket = port, socket.socket()
        self.words = [f"server_version\0{major}".encode() for major in (before, after)]
        self.socket.bind((HOST, 0))
        self.socket.listen()
        self.listens = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.socket.accept()[0]
                server = socket.create_connection((HOST, self.port))
                for pair in (client, server), (server, client):
                    threading.Thread(
                        target=self.hand_on, args=pair, daemon=True
                    ).start()

    def hand_on(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data.replace(*self.words))
            target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("major", ["13", "14"])
def test_too_old(database, start, major):
    """A PostgreSQL that is too old: its version, and the oldest that Prefect takes; nothing of
    14.9 and newer."""
    version = database.rows("SHOW server_version")[0][0].split()[0]
    real, _, minor = version.partition(".")
    assert int(minor) > 9
    renamed = Renamed(database.server.port, real, major)
    try:
        url = database.url(port=renamed.listens) + "?ssl=disable"
        process = start(guarded(("false",)), url)
        if major == "13":
            says(process, f"PostgreSQL 13.{minor}: Prefect 3 needs 14.9 or newer")
        else:
            assert process.wait() == 1 and "PostgreSQL 14" not in process.output()
            assert "revisions to run" in process.output()
    finally:
        renamed.socket.close()


def test_too_many_connections(database, start):
    """A role that has no connection left."""
    role = a_role(database)
    database.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
    url = database.url(user=role, password="canary")
    says(start(guarded(wait=WAIT), url), "too many connections")


def test_schema_of_another(database, start):
    """An `alembic_version` of another product."""
    database.execute(
        "CREATE TABLE alembic_version (version_num text)",
        "INSERT INTO alembic_version VALUES ('of_airflow')",
    )
    says(start(guarded(), database.url()), "alembic_version here is another product's")


def test_newer_schema(migrated, start):
    """A schema that is newer than the image, under `fail`."""
    process = start(guarded(on_newer_schema="fail"), migrated.url(), MIDWAY)
    says(process, f"is newer than Prefect {MIDWAY}")


def test_empty_beside_another(open_directory, start):
    """An empty database beside one that holds Prefect's tables: it is asked about."""
    server = Postgres(open_directory()).start()
    try:
        full, empty = server.create_database(), server.create_database()
        full.execute("CREATE TABLE flow_run (id int)")
        process = start(guarded(), empty.url())
        assert process.wait() == 0
        assert f"did you mean `{full.name}`" in process.output().partition(STARTED)[0]
    finally:
        server.stop()


def test_invalid_index(database, start):
    """An index that an interrupted build left invalid is listed with what rebuilds it."""
    assert start(guarded(), database.url()).wait() == 0
    database.execute("CREATE TABLE twice AS SELECT 1 AS n FROM generate_series(1, 2)")
    build = "CREATE UNIQUE INDEX CONCURRENTLY half_built ON twice (n)"
    with pytest.raises(Exception, match="duplicated|could not create"):
        database.execute(build)
    assert database.invalid_indexes()
    process = start(guarded(), database.url())
    rebuild = "REINDEX INDEX CONCURRENTLY half_built;"
    says(process, "index half_built is invalid", rebuild, code=0)


def test_waits_for_the_database(open_directory, start, note):
    """A database that starts later is waited for."""
    server = Postgres(open_directory()).start()
    database = server.create_database()
    server.stop()
    process = start(guarded(), database.url())
    until(lambda: "connection refused" in process.output(), 90, "it waits")
    assert process.running(), process.output()
    options = f"-p {server.port} -k {server.directory} -c listen_addresses={HOST}"
    server._run(
        "pg_ctl", "-D", server.data, "-l", server.log, "-w", "-o", options, "start"
    )
    try:
        assert process.wait() == 0, process.output()
        assert database.tables()
        note(f"{process.seconds:.1f} s in all")
    finally:
        server.stop()


def test_preview(database, start):
    """Before it migrates it says from where to where, and what may take its time."""
    first = start(guarded(), database.url(), MIDWAY)
    assert first.wait() == 0
    assert "106 revisions to run, from an empty schema to " in first.output()
    (at,) = database.rows("SELECT version_num FROM alembic_version")[0]
    second = start(guarded(), database.url(), NEWEST)
    assert second.wait() == 0
    before = second.output().partition(STARTED)[0]
    assert f"14 revisions to run, from {at} to 91e2b8f3d6a4" in before
    assert "may build indexes concurrently" in before
    assert "may rewrite rows" in before


def test_timeout_of_older_prefects(database, start):
    """Before 3.8 the timeout of queries bounds migrations: it is raised, and said."""
    shown = ("sh", "-c", "echo is $PREFECT_API_DATABASE_TIMEOUT")
    process = start(guarded(shown), database.url(), MIDWAY)
    assert process.wait() == 0
    assert "one hour for each statement" in process.output()
    assert "is 3600" in process.output()
    newer = start(guarded(shown), database.url(), NEWEST)
    assert newer.wait() == 0 and "3600" not in newer.output()
