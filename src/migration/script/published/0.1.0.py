"""Migrate Prefect's database, one pod at a time.

python -c SCRIPT --on-newer-schema=continue|fail prefect server database upgrade -y

Settings, driver and migrations are those of the Prefect in this image. Where no lock
is to be had, the command just runs, as it would without this script.
"""

import sys

sys.path = [p for p in sys.path if p]  # as for `prefect`: import nothing from here
import asyncio
import io
import os
import signal
import socket
from importlib import metadata

# "prefectg" in ASCII, the same in every release, so that all pods meet at one lock.
# PostgreSQL keeps it per database: two Prefects on one server do not.
LOCK = 0x7072656665637467
# No timeout ends the lock's transaction; if the node is lost it goes within a minute.
SETTINGS = """SELECT set_config(name, wanted, true) FROM pg_settings JOIN (VALUES
    ('idle_in_transaction_session_timeout', '0'), ('transaction_timeout', '0'),
    ('tcp_keepalives_idle', '30'), ('tcp_keepalives_interval', '10'),
    ('tcp_keepalives_count', '3'), ('application_name', 'prefect-guard migration')
    ) AS wish (key, wanted) ON name = key"""
TABLE = "SELECT 1 WHERE to_regclass('{}') IS NOT NULL"


def say(text):
    print("prefect-guard:", text, file=sys.stderr, flush=True)


def become(command):
    """Signals, output and exit code are the command's own, and so is the memory."""
    try:
        os.execvp(command[0], command)
    except OSError as error:
        say(f"cannot run `{command[0]}`: {error.strerror}")
        sys.exit(127)


async def rows(db, query):
    """COPY gives rows over the simple protocol; a prepared statement would keep a
    snapshot, or meet that of another client behind a pooler."""
    out = io.BytesIO()
    await db.copy_from_query(query, output=out, timeout=60)
    return out.getvalue().decode().split()


async def migrate(on_newer_schema, command):
    from prefect.server.database.dependencies import provide_database_interface

    prefect, version = provide_database_interface(), metadata.version("prefect")
    if prefect.database_config.connection_url.startswith("sqlite"):
        say("no setting of a PostgreSQL URL reaches Prefect: it would use SQLite; see")
        say("PREFECT_SERVER_DATABASE_CONNECTION_URL and the Secret it should come from")
        sys.exit(1)
    from alembic.script import ScriptDirectory
    from sqlalchemy.util import greenlet_spawn

    place = prefect.orm.versions_dir
    scripts = ScriptDirectory(str(place), version_locations=[str(place)])
    known = {script.revision for script in scripts.walk_revisions()}
    # All that Prefect connects with, but not the queries SQLAlchemy starts with.
    pool = (await prefect.engine()).sync_engine.pool
    db = (await greenlet_spawn(pool._creator)).driver_connection
    for second in range(sys.maxsize):
        schema = []
        if await rows(db, TABLE.format("alembic_version")):
            schema = await rows(db, "SELECT version_num FROM alembic_version")
        at = f"the schema is at {' '.join(schema)}"
        if schema and set(schema) == set(scripts.get_heads()):
            return say(f"{at}, as Prefect {version} needs it")
        # Another product's alembic_version is no newer schema of Prefect's.
        newer = not known.issuperset(schema) and await rows(
            db, TABLE.format("flow_run")
        )
        if newer and on_newer_schema == "continue":
            return say(f"{at}, newer than Prefect {version}: nothing to migrate")
        await db.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        if await rows(db, f"SELECT 1 WHERE pg_try_advisory_xact_lock({LOCK})"):
            break
        # CREATE INDEX CONCURRENTLY waits for open transactions: none while asleep.
        await db.execute("ROLLBACK")
        if second % 30 == 0:
            say(f"waiting for another pod's migration (advisory lock {LOCK})")
        await asyncio.sleep(1)
    await rows(db, SETTINGS)
    # The lock lasts as long as the transaction, that is until the command, which keeps
    # the socket, has ended: a killed pod leaves none behind, nor does a pooler.
    sock = db._transport.get_extra_info("socket")
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    os.set_inheritable(sock.fileno(), True)
    become(command)


signal.signal(signal.SIGTERM, lambda *_: os._exit(143))  # the default spares PID 1
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
try:
    asyncio.run(migrate(sys.argv[1].partition("=")[2], sys.argv[2:]))
except Exception as error:  # noqa: BLE001 (its text could show a part of the URL)
    say(f"no lock to be had ({type(error).__name__}): migrating without one")
    become(sys.argv[2:])
