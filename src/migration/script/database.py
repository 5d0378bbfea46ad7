import sys

sys.path = [p for p in sys.path if p]  # as for `prefect`: import nothing from here
import asyncio
import contextlib
import importlib.util
import io
import itertools
import os
import re
import signal
import socket
import time
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote

COMMAND = list(itertools.dropwhile(lambda word: word[:2] == "--", sys.argv[1:]))
OPTIONS = dict(word[2:].split("=", 1) for word in sys.argv[1 : -len(COMMAND) or None])
URLS = "PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL"
# No quoting but in the password, no options: what this leaves out is Prefect's to read.
PLAIN = re.compile(
    r"postgresql\+asyncpg://([\w.-]+):([^@/?#${}\s]+)@([\w.-]+)(?::(\d{1,5}))?/([\w-]+)"
)
# May stand beside the URL; every other setting of the database takes the long way.
HARMLESS = re.compile(
    r"PREFECT_(SERVER|API)_DATABASE_"
    r"(MIGRATE_ON_START|ECHO|(CONNECTION_|MIGRATION_)?TIMEOUT"
    r"|SQLALCHEMY_(POOL_SIZE|POOL_TIMEOUT|POOL_RECYCLE|MAX_OVERFLOW))=(\d+|true|false)"
)
UNUSUAL = re.compile(
    r"PREFECT_.*(DATABASE|PROFILE|PLUGIN|ENTRYPOINT|TEST_MODE)"
    r"|PREFECT(_SERVER|_API)?$|PG"
)


def say(text):
    print("prefect-guard:", text, file=sys.stderr, flush=True)


async def rows(db, query):
    """COPY gives rows over the simple protocol; a prepared statement would keep a
    snapshot, or meet that of another client behind a pooler."""
    out = io.BytesIO()
    await db.copy_from_query(query, output=out, timeout=60)
    return out.getvalue().decode().splitlines()


async def is_there(db, table):
    return await rows(db, f"SELECT 1 WHERE to_regclass('{table}') IS NOT NULL")


async def schema_of(db):
    if not await is_there(db, "alembic_version"):
        return []
    return await rows(db, "SELECT version_num FROM alembic_version")


class Unusual(Exception):
    """Not for the quick way."""


class Quick:
    """Prefect's database without importing Prefect, which takes seconds: the URL as it
    stands in the environment, the revisions as text."""

    sqlite = False

    def __init__(self):
        package = Path(importlib.util.find_spec("prefect").origin).parent
        places = package.glob("server/database/*migrations/versions/postgresql")
        (self.place,) = places
        self.version = metadata.version("prefect")
        self.after = revisions(self.place)
        self.known, self.heads = set(self.after), set(self.after)
        self.heads -= set(self.after.values())
        if len(self.heads) != 1:
            raise Unusual
        user, password, self.host, port, name = self.url()
        self.target = {"user": user, "host": self.host, "port": int(port or 5432)}
        self.target |= {"password": unquote(password), "database": name}

    def url(self):
        home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
        files = [".env", "prefect.toml", "pyproject.toml", home / "profiles.toml"]
        if any(map(os.path.exists, files)) or any(w[:2] == "-p" for w in COMMAND):
            raise Unusual
        if any(word.startswith("--p") for word in COMMAND):
            raise Unusual
        env = {name.upper(): value for name, value in os.environ.items()}
        number = [int(part) for part in re.findall(r"\d+", self.version)[:3]]
        urls = URLS if number > [3, 1] else URLS[1:]
        found = [env.pop(name) for name in urls if name in env]
        for name, value in env.items():
            if UNUSUAL.match(name) and not HARMLESS.fullmatch(
                f"{name}={value.lower()}"
            ):
                raise Unusual
        match = PLAIN.fullmatch(found[0]) if len(found) == 1 else None
        if not match:
            raise Unusual
        return match.groups()

    async def connect(self, **other):
        import asyncpg

        return await asyncpg.connect(**{**self.target, "timeout": 10, **other})


def revisions(place):
    """Each revision of these files, and the one that it follows."""
    after = {}
    line = re.compile(r"(?m)^(down_)?revision(?:: .+?)? = (?:[\"'](\w+)[\"']|(None))$")
    for path in place.glob("*.py"):
        found = {down: name for down, name, _ in line.findall(path.read_text("utf-8"))}
        if path.name != "__init__.py":
            if set(found) != {"", "down_"} or not found[""] or found[""] in after:
                raise Unusual
            after[found[""]] = found["down_"]
    before = list(after.values())
    if before.count("") != 1 or not {*after, ""}.issuperset(before):
        raise Unusual
    return after


class Full:
    """The same by Prefect itself: all that it connects with, its plugins included."""

    def __init__(self):
        # Before an event loop runs: plugins' start-up hooks would not run within one.
        from prefect.server.database.dependencies import provide_database_interface

        self.version = metadata.version("prefect")
        self.prefect = provide_database_interface()
        self.sqlite = self.prefect.database_config.connection_url.startswith("sqlite")
        if self.sqlite:
            return
        from alembic.script import ScriptDirectory
        from sqlalchemy.engine import make_url

        self.place = Path(self.prefect.orm.versions_dir)
        place = str(self.place)
        scripts = ScriptDirectory(place, version_locations=[place])
        self.known = {script.revision for script in scripts.walk_revisions()}
        self.heads = set(scripts.get_heads())
        self.host = make_url(self.prefect.database_config.connection_url).host

    async def connect(self):
        from sqlalchemy.util import greenlet_spawn

        # Without the queries that SQLAlchemy starts with.
        pool = (await self.prefect.engine()).sync_engine.pool
        return (await greenlet_spawn(pool._creator)).driver_connection


def quick():
    try:
        return Quick()
    except Exception:  # noqa: BLE001 (whatever it is, the long way is there for it)
        return None
