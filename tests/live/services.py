"""A PostgreSQL and a pgbouncer of the test's own, on loopback, on free ports."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
import urllib.parse
from pathlib import Path

import psycopg

HOST = "127.0.0.1"
# Must never be seen in any output. All of it needs quoting in a URL; `%` doubles as a trap
# for whoever unquotes twice.
CANARY = "hunter2-canary@:/?#%41&"
SUPERUSER = "postgres"
# "prefectg", as `pg_locks` shows the two halves of the lock's number.
LOCK_HALVES = (0x70726566, 0x65637467)


class ServiceError(Exception):
    """A server that a test needs did not start."""


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def unprivileged():
    """What makes a child run as a user whom PostgreSQL accepts: it refuses root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def hand_over(path):
    """Give a file or directory to the user of `unprivileged`."""
    who = unprivileged()
    if who:
        os.chown(path, who["user"], who["group"])


def binaries():
    """The directory of the newest installed PostgreSQL's server programs."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: int(path.parts[-3]),
    )
    if not found:
        raise ServiceError("no PostgreSQL server is installed: run tests/setup")
    return found[-1].parent


def until(condition, seconds, what):
    """Wait for a condition; `what` is said when it does not come in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


class Postgres:
    """A throw-away cluster, with TLS offered under a certificate of its own."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.data = self.directory / "data"
        self.ca = self.directory / "server.crt"
        self.log = self.directory / "log"
        self.port = None
        self.databases = 0

    def start(self):
        hand_over(self.directory)
        password = self.directory / "password"
        password.write_text(CANARY)
        hand_over(password)
        self._run("initdb", "-D", self.data, "-A", "scram-sha-256", "-U", SUPERUSER,
                  f"--pwfile={password}", "-N", "--encoding=UTF8")  # fmt: skip
        self._certificate()
        for _ in range(5):  # somebody else may take the port first
            self.port = free_port()
            options = (
                f"-p {self.port} -k {self.directory} -c listen_addresses={HOST}"
                " -c fsync=off -c max_connections=200 -c ssl=on"
                f" -c ssl_cert_file={self.ca} -c ssl_key_file={self.directory}/server.key"
            )
            try:
                self._run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "30",
                          "-o", options, "start")  # fmt: skip
                return self
            except subprocess.CalledProcessError:
                continue
        raise ServiceError(f"PostgreSQL does not start: {self.log.read_text()}")

    def stop(self):
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")

    def _run(self, program, *arguments):
        command = [str(binaries() / program), *map(str, arguments)]
        subprocess.run(
            command, check=True, cwd=self.directory, timeout=60,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **unprivileged(),
        )  # fmt: skip

    def _certificate(self):
        key = self.directory / "server.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
             "-subj", "/CN=postgres", "-addext", f"subjectAltName=IP:{HOST}",
             "-keyout", str(key), "-out", str(self.ca)],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        key.chmod(0o600)
        hand_over(key)

    def connect(self, database="postgres", **options):
        return psycopg.connect(
            host=HOST, port=self.port, user=SUPERUSER, password=CANARY,
            dbname=database, autocommit=True, connect_timeout=30, **options,
        )  # fmt: skip

    def create_database(self):
        self.databases += 1
        database = Database(self, f"test_{self.databases}")
        with self.connect() as db:
            db.execute(f"CREATE DATABASE {database.name}")
        return database


class Database:
    """One database of a `Postgres`, empty to begin with."""

    def __init__(self, server, name):
        self.server = server
        self.name = name

    def url(self, port=None, user=SUPERUSER, password=CANARY, name=None):
        quoted = urllib.parse.quote(password, safe="")
        port = port or self.server.port
        return f"postgresql+asyncpg://{user}:{quoted}@{HOST}:{port}/{name or self.name}"

    def connect(self):
        return self.server.connect(self.name)

    def rows(self, query, *parameters):
        with self.connect() as db:
            return db.execute(query, parameters or None).fetchall()

    def execute(self, *statements):
        with self.connect() as db:
            for statement in statements:
                db.execute(statement)

    def tables(self):
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        return {name for (name,) in self.rows(query)}

    def invalid_indexes(self):
        return self.rows(
            "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid"
        )

    def locks(self):
        """The advisory locks of this database: (classid, objid, granted) each."""
        return self.rows(
            "SELECT classid::bigint, objid::bigint, granted FROM pg_locks JOIN pg_database d"
            " ON d.oid = database WHERE locktype = 'advisory' AND datname = %s", self.name
        )  # fmt: skip

    def wait_for_lock(self, seconds=90):
        until(
            lambda: self.locks() == [(*LOCK_HALVES, True)], seconds, "the lock is taken"
        )

    def wait_for_no_lock(self, seconds=10):
        until(lambda: not self.locks(), seconds, "no advisory lock is left")


class Bouncer:
    """A pgbouncer in front of a `Postgres`."""

    def __init__(self, directory, server, mode):
        self.directory = Path(directory)
        self.server = server
        self.mode = mode
        self.port = None
        self.process = None

    def start(self):
        hand_over(self.directory)
        users = self.directory / "users.txt"
        users.write_text(f'"{SUPERUSER}" "{CANARY}"\n')
        for _ in range(5):
            self.port = free_port()
            config = self.directory / "pgbouncer.ini"
            config.write_text(
                f"[databases]\n* = host={HOST} port={self.server.port}\n[pgbouncer]\n"
                f"listen_addr = {HOST}\nlisten_port = {self.port}\nunix_socket_dir =\n"
                f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = {self.mode}\n"
                # Prefect 3.0 starts its sessions with `jit`, which pgbouncer does not know.
                "ignore_startup_parameters = extra_float_digits, jit\n"
                f"logfile = {self.directory}/log\nmax_client_conn = 200\n"
            )
            for path in (users, config):
                hand_over(path)
            self.process = subprocess.Popen(
                [shutil.which("pgbouncer", path="/usr/sbin:/usr/bin"), "-q", config],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **unprivileged(),
            )  # fmt: skip
            with contextlib.suppress(AssertionError):
                until(self._answers, 10, "pgbouncer answers")
                return self
            self.stop()
        raise ServiceError(
            "pgbouncer does not start: " + (self.directory / "log").read_text()
        )

    def _answers(self):
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, self.port), 1).close()
            return self.process.poll() is None

    def stop(self):
        self.process.kill()
        self.process.wait(10)
