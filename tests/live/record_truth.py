"""Runs commands and settings on real Prefects and writes down what they did.

    target/live/tools/bin/python tests/live/record_truth.py

Writes tests/fixtures/truth/commands.json: for each case the exit code and the telling line of
each Prefect below target/live. `cargo test truth::` holds the guard against them. Nothing here
needs a database server: each case runs in a home of its own, on its own SQLite file at most.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import migration

PREFECTS = (migration.RECENT, migration.NEWEST)
TRUTH = migration.ROOT / "tests/fixtures/truth/commands.json"
POSTGRES = "postgresql+asyncpg://prefect:pw@127.0.0.1:1/prefect"
SQLITE = "sqlite+aiosqlite:///prefect.db"
# A server that has not left by then has started.
PATIENCE = 40
# What migrates takes its time, and ends.
PATIENCE_WITH_MIGRATIONS = 400

REDIS = {
    "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
}
TLS = "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_TLS_"

# Whether Prefect hands its own settings of TLS to asyncpg: the arguments of its connection are
# looked at, and none is made.
ASKS_FOR_TLS = """
import asyncio, ssl, sys
from prefect.server.database import configurations
from prefect.settings import get_current_settings
seen = {}
ssl.SSLContext.load_verify_locations = lambda *_, **__: seen.update(ca=True)
ssl.SSLContext.load_cert_chain = lambda *_, **__: seen.update(cert=True)
real = configurations.create_async_engine
def engine(url, **options):
    seen.update(tls="ssl" in options.get("connect_args", {}))
    return real(url, **options)
configurations.create_async_engine = engine
url = get_current_settings().server.database.connection_url.get_secret_value()
asyncio.run(configurations.AsyncPostgresConfiguration(connection_url=url).engine())
wanted = sys.argv[1]
print("used" if seen.get(wanted) else "ignored")
sys.exit(0 if seen.get(wanted) else 1)
"""
PLUGINS = """
import sys
from prefect.settings import get_current_settings
settings = get_current_settings()
plugins = getattr(settings, "plugins", None) or settings.experiments.plugins
print("on" if plugins.enabled else "off")
sys.exit(0 if plugins.enabled else 1)
"""
# Runs a database command on an empty SQLite file and the upgrade after it, and says what the
# schema's version is worth.
EFFECT = """
import os, sqlite3, subprocess, sys
before = ["prefect", "server", "database"]
first = subprocess.run([*before, *sys.argv[1:]], stdin=subprocess.DEVNULL, timeout=180)
subprocess.run([*before, "upgrade", "-y"], check=True, timeout=180)
found = sqlite3.connect(os.path.expanduser("~/.prefect/prefect.db"))
tables = {name for (name,) in found.execute("SELECT name FROM sqlite_master")}
version = found.execute("SELECT version_num FROM alembic_version").fetchall()
print(len(version), "version,", "with" if "flow_run" in tables else "without", "tables")
sys.exit(first.returncode)
"""


def workers(case, *options, url=POSTGRES, env=None):
    command = ["prefect", "server", "start", *options]
    return {"case": case, "kind": "workers", "command": command,
            "env": {migration.URL: url, **(env or {})}}  # fmt: skip


def name(*words):
    """Whether Prefect knows a command by this name; nothing is done."""
    command = ["prefect", *words]
    return {"case": " ".join(words), "kind": "name", "command": command, "env": {},
            "run": [*command, "--help"]}  # fmt: skip


def effect(*words):
    """What the schema is like after a command of the group `database` and an upgrade."""
    command = ["prefect", "server", "database", *words]
    return {"case": f"effect of {' '.join(words)}", "kind": "effect", "command": command,
            "env": {}, "run": ["python", "-c", EFFECT, *words]}  # fmt: skip


def settings(case, kind, env, *program):
    command = ["prefect", "server", "start"]
    return {"case": case, "kind": kind, "command": command,
            "env": {migration.URL: POSTGRES, **env},
            "run": ["python", "-c", *program]}  # fmt: skip


def tls(case, wanted, **env):
    env = {TLS + key: value for key, value in env.items()}
    return settings(case, "tls", env, ASKS_FOR_TLS, wanted)


def plugins(case, **env):
    switch = {"PREFECT_INTEGRATIONS_AWS_RDS_IAM_ENABLED": "true"}
    return settings(case, "plugins", switch | env, PLUGINS)


def without(field):
    return {key: value for key, value in REDIS.items() if not key.endswith(field)}


CASES = [
    workers("two workers in memory", "--workers", "2"),
    workers("two workers, =", "--workers=2"),
    workers("two workers on SQLite", "--workers", "2", url=SQLITE, env=REDIS),
    workers("no broker", "--workers", "2", env=without("BROKER")),
    workers("no cache", "--workers", "2", env=without("CACHE")),
    workers("no order", "--workers", "2", env=without("ORDERING")),
    workers("no lease storage", "--workers", "2", env=without("LEASE_STORAGE")),
    workers("all of it in Redis", "--workers", "2", env=REDIS),
    workers("one worker", "--workers", "1", url=SQLITE),
    workers("no worker", "--workers", "0"),
    name("server", "database", "reset"),
    name("Server", "DataBase", "RESET"),
    name("server", "data-base", "re_set"),
    name("server", "data-base", "downgrade"),
    name("SERVER", "database", "stamp"),
    name("server", "database", "stamp"),
    name("server", "database", "Revision"),
    name("server-database", "reset"),
    effect("stamp", "head"),
    effect("upgrade", "-y"),
    tls("a CA without the switch", "ca", CA_FILE="/ca.pem"),
    tls("a CA with the switch", "ca", ENABLED="true", CA_FILE="/ca.pem"),
    tls("a CA with the switch off", "ca", ENABLED="false", CA_FILE="/ca.pem"),
    tls("a certificate without its key", "cert", ENABLED="true", CERT_FILE="/c.pem"),
    tls("a key without its certificate", "cert", ENABLED="true", KEY_FILE="/k.pem"),
    tls("certificate and key", "cert", ENABLED="true", CERT_FILE="/c.pem",
        KEY_FILE="/k.pem"),
    plugins("a login by a plugin, and none runs"),
    plugins("the name of today", PREFECT_PLUGINS_ENABLED="true"),
    plugins("the name before 3.7", PREFECT_EXPERIMENTS_PLUGINS_ENABLED="true"),
    plugins("switched off", PREFECT_PLUGINS_ENABLED="false"),
]  # fmt: skip


def telling(text):
    """The line that says why, without what differs from run to run."""
    lines = [re.sub(r"\s+", " ", line).strip(" │╭╮╰╯─") for line in text.splitlines()]
    wanted = r"Multi-worker|Number of workers|[Nn]o such command|Unknown command|ModuleNotFound|^used|^ignored|^on$|^off$|^Usage|^\d version,"
    return next((line for line in lines if re.search(wanted, line)), "")[:160]


def run(case, prefect):
    """The exit code, `None` for what went on running, and what it said."""
    with tempfile.TemporaryDirectory(prefix="truth-") as home:
        env = migration.environment(prefect, home, COLUMNS="200", **case["env"])
        command = case.get("run", case["command"])
        migrates = case["kind"] == "effect"
        patience = PATIENCE_WITH_MIGRATIONS if migrates else PATIENCE
        program = str(Path(env["PATH"].split(":")[0]) / command[0])
        process = subprocess.Popen(
            [program, *command[1:]], env=env, cwd=home, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            said, code = process.communicate(timeout=patience)[0], process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            # Whoever left the session may hold the pipe open still.
            said, code = process.communicate(timeout=30)[0], None
    return {"exit": code, "said": telling(said)}


def main():
    recorded = []
    for case in CASES:
        runs = {prefect: run(case, prefect) for prefect in PREFECTS}
        kept = {key: value for key, value in case.items() if key != "run"}
        recorded.append(kept | {"runs": runs})
        print(case["case"], runs)
    TRUTH.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
