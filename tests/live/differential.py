"""What the real Prefect makes of many database settings, as JSON lines.

One process, no database: each case goes through Prefect's settings models, SQLAlchemy's URL and dialect, Prefect's
own engine and `asyncpg.connect`, up to the point where the first byte would leave the machine. What would happen
from there on is not asked. With `--workers`, Prefect's own check of it comes before. Each line is
{"case", "env", "workers", "expect", "why"}; `expect` is `deny` when the settings
themselves stop Prefect or lose the data, `allow` otherwise.

Prefect does not judge everything that we judge. The verdicts it has no opinion on are made here, by `policy`, and
are few: SQLite must be on the volume at /data; a host must be able to be one; no placeholders; no white space round
names; no settings at all is no setting.

Usage: differential.py [CASES.json] [--seed N] [--count N]
CASES.json holds a list of {"case", "env"} to be tried first. Which settings there are is read from `settings.json`
beside this file, which is made from the guard's own table.
"""

import argparse
import asyncio
import gc
import ipaddress
import json
import os
import random
import re
import shutil
import ssl
import sys
import tempfile
import urllib.parse
import warnings

warnings.simplefilter("ignore")

HOME = tempfile.mkdtemp(prefix="prefect-guard-differential-")
os.makedirs(os.path.join(HOME, ".postgresql"))
# Prefect looks through all of an environment some hundreds of times for each case: whatever a test runner or a shell
# has there costs half as much again.
BASE = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR") if name in os.environ}
BASE["HOME"] = HOME
os.environ.clear()
os.environ.update(BASE)
os.chdir(HOME)

import aiosqlite  # noqa: E402
import asyncpg.connect_utils  # noqa: E402
import certifi  # noqa: E402
from prefect.cli._server_utils import _validate_multi_worker  # noqa: E402
from prefect.context import SettingsContext  # noqa: E402
from prefect.server.database import configurations  # noqa: E402
from prefect.server.utilities.database import get_dialect  # noqa: E402
from prefect.settings import Profile  # noqa: E402
from prefect.settings.models.root import Settings  # noqa: E402
from sqlalchemy.engine.url import make_url  # noqa: E402

# `ssl=verify-full` needs a root certificate, which a manifest cannot show.
shutil.copy(certifi.where(), os.path.join(HOME, ".postgresql", "root.crt"))


class Denied(Exception):
    """The settings stop Prefect, or the policy says no."""


REACHED = []


async def reach(*, addr, loop, params, **_):
    """Stands where asyncpg would open a socket. What it would then trip over at once is tripped over here."""
    await asyncio.sleep(0.002)
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise Denied("no event loop")
    if params.ssl and not isinstance(params.ssl, ssl.SSLContext):
        raise Denied("no TLS context")
    for part in (params.user, params.password, params.database):
        if part is not None and not isinstance(part, str):
            raise Denied("no text for the startup message")
    REACHED.append((addr, params))
    raise OSError("reached")


def reach_file(database, **arguments):
    """Stands where aiosqlite would open a file."""
    import sqlite3

    uri = arguments.pop("uri", False)
    sqlite3.connect(":memory:", **{k: v for k, v in arguments.items() if k != "loop"}).close()
    REACHED.append((database, uri))
    raise Reached


class Reached(Exception):
    """A file would be opened."""


asyncpg.connect_utils._connect_addr = reach
aiosqlite.connect = reach_file


async def connect(url, settings):
    """As far as Prefect gets with this URL."""
    dialect = get_dialect(url)
    kinds = {
        "postgresql": configurations.AsyncPostgresConfiguration,
        "sqlite": configurations.AioSqliteConfiguration,
    }
    if dialect.name not in kinds:
        raise Denied(f"dialect {dialect.name}")
    engine = await kinds[dialect.name](connection_url=url).engine()
    try:
        async with engine.connect():
            pass
    except (OSError, Reached):
        if not REACHED:
            raise


def refuse(message):
    """Stands where Prefect's command line would exit."""
    raise Denied(" ".join(str(message).split())[:60])


def prefect(env, workers):
    """Runs one environment through Prefect; the resolved settings, or an exception."""
    os.environ.clear()
    os.environ.update(BASE)
    os.environ.update(env)
    REACHED.clear()
    configurations.ENGINES.clear()
    settings = Settings()
    url = settings.server.database.connection_url.get_secret_value()
    with SettingsContext(profile=Profile(name="differential", settings={}), settings=settings):
        if workers is not None:
            _validate_multi_worker(workers, refuse)
        asyncio.run(connect(url, settings))
    return settings, url


PLACEHOLDER_ANYWHERE = re.compile(r"\{\{.*\}\}|\$\{[A-Za-z0-9_.]+([:?+-][^}]*)?\}|\$\([A-Za-z0-9_.]+([:?+-][^)]*)?\)", re.S)
PLACEHOLDER_WHOLE = re.compile(
    r"<.+>|\$[A-Z0-9_]*[A-Z][A-Z0-9_]*|\{[A-Za-z0-9_.-]+\}|%\(.+\)s|__[A-Z0-9_]*[A-Z][A-Z0-9_]*__|\*{3,}", re.S
)
WORDS = {
    "changeme", "changethis", "changeit", "replaceme", "replacethis", "fillme", "fillmein", "todo", "redacted",
    "yourpassword", "yourhost", "youruser", "yourusername", "yourdatabase", "yourdbhost",
}


def is_placeholder(text, password=False):
    """Nobody's password, user, host or database."""
    if not text:
        return False
    plain = re.sub(r"[^a-z0-9]", "", text.lower()) if text.isascii() and len(text) <= 40 else ""
    return bool(
        PLACEHOLDER_ANYWHERE.search(text)
        or PLACEHOLDER_WHOLE.fullmatch(text)
        or plain in WORDS
        or (not password and re.search(r"<[^>]+>", text))
    )


def is_host(host):
    """Could be resolved by somebody: a socket, an IP address, a host name."""
    if host.startswith("/"):
        return True
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        pass
    try:
        ascii_name = host.encode("idna").decode()
    except UnicodeError:
        return False
    labels = ascii_name.removesuffix(".").split(".")
    return all(re.fullmatch(r"[A-Za-z0-9_-]{1,63}", label) for label in labels)


def policy(env, settings, url):
    """The verdicts on which Prefect has no opinion."""
    names = {name.lower() for name in env}
    database = settings.server.database
    default = f"sqlite+aiosqlite:///{settings.home}/prefect.db"
    if url == default and database.driver is None and not names & {
        "prefect_server_database_connection_url", "prefect_api_database_connection_url"
    }:
        raise Denied("nothing set")
    parsed = make_url(url)
    if is_placeholder(parsed.password, password=True) or any(map(is_placeholder, (parsed.username, parsed.host, parsed.database))):
        raise Denied("placeholder")
    if "prepared_statement_name_func" in parsed.query:
        raise Denied("called when the first statement is prepared, and a text cannot be")
    for values in parsed.normalized_query.values():
        if any(PLACEHOLDER_ANYWHERE.search(value) for value in values):
            raise Denied("placeholder")
    if any(part and part != part.strip() for part in (parsed.username, parsed.host, parsed.database)):
        raise Denied("white space")
    if parsed.drivername.startswith("sqlite"):
        return sqlite_policy()
    if not parsed.username and "@" in (parsed.database or ""):
        raise Denied("a user or password became the host")
    for addr, _ in REACHED:
        if isinstance(addr, tuple):
            host, port = addr
            if not 0 <= int(port) <= 65535:
                raise Denied("port out of range")
            if not is_host(host):
                raise Denied("no host")


def sqlite_policy():
    filename, uri = REACHED[0]
    if uri and filename.startswith("file:"):
        name, _, query = filename.removeprefix("file:").partition("?")
        if name.startswith("//"):
            name = name[2:][name[2:].find("/"):] if "/" in name[2:] else ""
        if "mode=memory" in query.split("&"):
            raise Denied("memory")
        filename = urllib.parse.unquote(name)
    if filename in ("", ":memory:"):
        raise Denied("memory")
    if not os.path.normpath(filename).startswith("/data/"):
        raise Denied("not on the volume")


def verdict(env, workers=None):
    try:
        settings, url = prefect(env, workers)
        policy(env, settings, url)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "deny", type(error).__name__ + (f": {error}" if isinstance(error, Denied) else "")
    return "allow", ""


# --- cases ---------------------------------------------------------------------------------------------------------

SERVER, API = "PREFECT_SERVER_DATABASE_", "PREFECT_API_DATABASE_"
SETTINGS = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.json")))


def named(kind):
    """The names of all settings of a kind."""
    return [name["name"] for setting in SETTINGS if setting["kind"] == kind for name in setting["names"]]


GOOD = "postgresql+asyncpg://prefect:s3cret@db.example:5432/prefect"


# Where one part of a URL ends and the next begins, each way there is.
EDGES = [
    "u:p@db?ssl=require", "u:p@db?sslmode=require", "u:p@db:5432?ssl=require", "u:p@db:5432?sslmode=require", "u:p@db/d?ssl=require",
    "u@v:p@db/d", "u@v@db/d", "u@db", "u:p/w@db/d", "u:p:w@db/d", "u:p?w@db/d", "u:p@[::1]:5432/d", "u:p@[::1]?sslmode=x",
    "u:p@[fd00::1]/d", "u:p@db/d?ssl=require\n&foo=bar", "u:p@db/d?foo=bar\n", "u:p@db/d#f?sslmode=x", "u:p@db:5432/d?a=b?c",
    "u:p@/d?host=db", "u:p@:5432/d", ":p@db/d", "@db/d", "/d", "", "?host=db", ":5432",
]


class Grammar:
    """Builds cases: mostly good ones, with one or two parts taken from the odd ones."""

    NAMES = ["postgresql+asyncpg"] * 30 + ["sqlite+aiosqlite"] * 4 + [
        "postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg", "postgresql+pg8000", "postgres+asyncpg",
        "POSTGRESQL+ASYNCPG", "postgresql+AsyncPG", "postgresql+", "+asyncpg", "asyncpg", "postgresql+asyncpg+x",
        "sqlite", "sqlite+pysqlite", "mysql", "mysql+aiomysql", "mssql+aioodbc", "oracle", "cockroachdb+asyncpg",
        "http", "postgresql-asyncpg", "jdbc:postgresql", "", " postgresql+asyncpg", "\"postgresql+asyncpg", "\n",
        "postgresql+asyncpg:", "pöstgresql+asyncpg", "postgresql_asyncpg",
    ]
    USERS = ["prefect"] * 8 + ["u", "user@server", "us%40er", "us er", "", "us/er", "u+x", "ü", "u%zz", "u?x", "u#x",
                               "<user>", "${USER}", "$PGUSER", "$user", "{user}", "your-user", " u", "u ", "u\t", "u%20", "[u]"]
    PASSWORDS = ["s3cret"] * 6 + [
        "p@ss", "p/w", "p#w", "p?w", "p:w", "p%w", "p%41", "p%40", "p%zz", "p&w", "p=w", "p[w", "p]w", "p w", "pé", "p$w",
        "p!w", "p<w", "p\\w", "p\"w", "p'w", "", " p", "p ", "p\nw", "CHANGEME", "change-me", "<password>", "${DB_PASSWORD}",
        "$DB_PASSWORD", "$(DB_PASSWORD)", "{{ .Values.password }}", "***", "a<b>c", "pa$word", "p$1", "__PW__", "{pw}",
        "%(pw)s", "p@ss:w/rd#1%&?", "p@a@b", "p%2F%3A%40", "x" * 300, "${PREFECT_API_DATABASE_PASSWORD}",
        "${PREFECT_SERVER_DATABASE_PASSWORD}", "$PREFECT_SERVER_DATABASE_PASSWORD", "p?w@x?y", "p/w@x/y", "p:1@2:3",
    ]
    HOSTS = ["db.example"] * 8 + [
        "localhost", "127.0.0.1", "[::1]", "[fe80::1%eth0]", "[::1", "::1", "[]", "[db]", "[::1]x", "[::1]]", "", "a,b",
        "a:1,b:2", "db_x", "db-x.", ".db", "a..b", "a b", " db", "db ", "dbé.example", "%2Fvar%2Frun", "<host>", "{{ host }}",
        "$(DB_HOST)", "${DB_HOST}", "$postgres", "db\n", "db;x", "db|x", "a" * 63, "a" * 64, "db#x", "db@x", "[a b]", "1.2.3",
        "256.1.1.1", "db*", "db\\x", "db&x", "db=x", "(db)", "db!",
    ]
    PORTS = [":5432"] * 10 + [
        "", "", ":", ":0", ":1", ":65535", ":65536", ":99999", ":-1", ":+5432", ": 5432", ":5432 ", ":5_432", ":5__4", ":_5",
        ":٥٤٣٢", ":５４３２", ":abc", ":<port>", ":$(DB_PORT)", ":5432:5433", ":5.4", ":1e3", ":0x10", ":5432\n", ":5432#x",
        ":²", ":" + "9" * 30, ":00005432", ":5432,5433", ":\x1c5432", ":tcp", ":5\u200b4",
    ]
    DATABASES = ["/prefect"] * 10 + [
        "", "/", "//prefect", "/pre/fect", "/prefect#x", "/prefect ", "/ prefect", "/prefect\n", "/%20prefect", "/p%40x", "/p@x",
        "/<database>", "/${DB}", "/{{ db }}", "/$DB", "/{db}", "/p p", "/prefect\t", "/pré", "/p%zz", "/your-database", "/p:x",
        "/prefect%0A", "/p:w@h",
    ]
    KEYS = [
        "ssl", "ssl", "ssl", "sslmode", "sslrootcert", "channel_binding", "connect_timeout", "application_name", "options",
        "pool_size", "schema", "currentSchema", "search_path", "pgbouncer", "charset", "timeout", "command_timeout",
        "target_session_attrs", "statement_cache_size", "prepared_statement_cache_size", "server_settings", "direct_tls",
        "passfile", "service", "servicefile", "krbsrvname", "gsslib", "user", "password", "database", "loop", "dsn",
        "connection_class", "record_class", "max_cached_statement_lifetime", "max_cacheable_statement_size",
        "async_creator_fn", "prepared_statement_name_func", "default_transaction_isolation", "host", "port", "foo", "", "SSL",
        "ssl ", "s%73l", "+ssl", "keepalives", "gssencmode", "async_fallback",
    ]
    VALUES = [
        "require", "disable", "allow", "prefer", "verify-ca", "verify-full", "verify_full", "true", "True", "false", "1", "0",
        "on", "bogus", "REQUIRE", "require ", "require\n", "5", "5.5", "-1", "abc", "", "any", "primary", "read-write", "read_only",
        "gssapi", "sspi", "x", "a,b", "h:5432", "/run/pg", "postgresql://h/d", "http://h/d", "5432,5433", "+5", "1_0", "٥",
        "${X}", "$(X)", "{{x}}", "re+quire", "r%65quire", "a;b", "a=b", "a@b", "#f", "a b",
    ]
    PATHS = [
        "////data/prefect.db", "////data/prefect.db", "////data/a/../prefect.db", "///data/prefect.db", "//", "///", "///:memory:",
        "//prefect.db", "//localhost/data/p.db", "///file::memory:?cache=shared&uri=true&check_same_thread=false",
        "///file:/data/p.db?uri=true", "///file:///data/p.db?uri=true", "///file:/data/p.db", "///file:/data/p.db?mode=memory&uri=1",
        "////data/p.db?mode=memory", "////data/p.db?timeout=5", "////data/p.db?timeout=x", "////data/p.db?uri=maybe",
        "////data/p.db?check_same_thread=no", "////data/p.db?foo=bar", "////data/p.db?isolation_level=IMMEDIATE",
        "////data/p.db?isolation_level=x", "////data/p.db?detect_types=1", "////data/p.db?cached_statements=x", "////tmp/p.db",
        "///~/p.db", "////data", "////data/../etc/p.db", "////data//p.db", "//:5432/data/p.db", "//u@/data/p.db", "////data/p.db ",
        "////data/<name>.db", "////data/${NAME}.db", "////data2/p.db", "///file:?uri=true", "////data/p%20q.db", "",
        "///:memory:?uri=true", "///file:/data/p.db?uri=true&uri=true", "////data/p.db?timeout=5&timeout=6", "///%2Fdata%2Fp.db",
    ]
    TRUTHS = ["1", "0", "yes", "NO", "t", "F", "on", "off", "true", "False", " true", "true ", "", "2", "maybe", "1.0", "enabled",
              "y", "n", "tRuE", "null", "None", "ｔrue", "-1", "true\n"]
    NUMBERS = ["1", "0", "5432", "+5", "-5", " 5 ", "5.0", "5.00", "5.", "5.5", ".5", "1_000", "1__0", "_1", "1_", "00012", "+00012",
               "٣", "5e3", "0x10", "", "\t7\n", "\u00a05", "99999999999999999999", "1,000", "+ 5", "--5", "inf", "-inf", "nan", "NaN",
               "Infinity", "1e5", "1e", "tcp://10.0.0.1:5432", "5432/tcp", "abc", "null", "1_0.0_1", "1_.0", "0_1", "-0", "+-5",
               "\x1c5", "5\u2028", "1_0.00", "5f", "0.5", "1e400", "-1_0", "+_1", "65536", "-1", "10s", "٣.٣", "0.0", "-0.0"]
    GROUPS = ["", "x", "null", "[]", "5", "{}", "true", "\"x\"", "{", "{\"echo\": true}", "{\"foo\": 1}"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, pool):
        return self.random.choice(pool)

    def odd(self, pool, chance):
        """The usual member of a pool, or with some chance any."""
        return self.pick(pool) if self.random.random() < chance else pool[0]

    def query(self, chance):
        if self.random.random() > chance:
            return ""
        pairs = []
        for _ in range(self.pick([1, 1, 1, 2, 2, 3])):
            pair = self.pick(self.KEYS) + self.pick(["="] * 12 + ["", "==", ":"]) + self.pick(self.VALUES)
            pairs.append(pair)
        return "?" + self.pick(["&"] * 8 + [";", "&&", "?"]).join(pairs)

    def good_query(self):
        return self.pick([
            "?ssl=require", "?ssl=disable", "?ssl=verify_ca", "?host=h1:5432&host=h2:5433", "?host=h1,h2&port=1,2", "?host=/run/pg",
            "?host=h1&port=5433", "?port=5433", "?host=h1:5", "?foo", "?", "?ssl=require&direct_tls=1", "?target_session_attrs=primary",
            "?timeout=abc", "?prepared_statement_cache_size=0", "?host=/cloudsql/p:r:i", "?user=x&database=y", "?host=::1",
            "?host=h1:5432&host=h2", "?host=h1,h2", "?host=h1,h2&port=1", "?host=h1&port=0", "?host=:5432", "?host=a:b", "?port=x",
            "?host=h1:0&host=h2:0", "?host=/a&host=/b", "?port=1&port=2", "?host=,&port=1,2", "?host=h1:1&port=2", "?host=h1:1&host=h2:2&port=3",
            "?ssl=require&ssl=require", "?user=a&user=b", "?passfile=/x", "?krbsrvname=a", "?host=a b:1&host=c:2", "?host=h:70000&host=g:1",
        ])

    def url(self, chance=0.25):
        name = self.odd(self.NAMES, chance)
        if name == "sqlite+aiosqlite" or self.random.random() < 0.08:
            return "sqlite+aiosqlite:" + self.pick(self.PATHS)
        user, password = self.odd(self.USERS, chance), self.odd(self.PASSWORDS, chance * 2)
        credentials = self.pick([f"{user}:{password}@"] * 12 + [f"{user}@", "", f"{user}:@", "@", f"{user}:{password}"])
        rest = self.odd(self.HOSTS, chance) + self.odd(self.PORTS, chance) + self.odd(self.DATABASES, chance)
        query = self.good_query() if self.random.random() < 0.15 else self.query(chance)
        text = f"{name}://{credentials}{rest}{query}"
        return self.damage(text) if self.random.random() < 0.12 else text

    def damage(self, text):
        """One character taken out, doubled, or put in."""
        at = self.random.randrange(len(text) + 1)
        extra = self.pick(list("@:/?#[]%&=+ \n\t\"'$<>{}()é;,\\") + ["%40", "://", "@@", "${", "}"])
        return self.pick([text[:at] + text[at + 1:], text[:at] + extra + text[at:], extra + text, text + extra])

    def prefix(self):
        return self.pick([SERVER, SERVER, API])

    def case(self):
        kind = self.random.random()
        if kind < 0.62:
            return {self.cased(self.prefix() + "CONNECTION_URL"): self.url()}
        if kind < 0.70:
            return self.components()
        if kind < 0.76:
            return self.templated()
        if kind < 0.80:
            return {SERVER + "CONNECTION_URL": self.url(0.1), API + "CONNECTION_URL": self.url(0.3)}
        if kind < 0.83:
            return self.misnamed()
        return self.valued()

    def cased(self, name):
        return self.pick([name] * 20 + [name.lower(), name.title()])

    def components(self):
        env = {}
        parts = {
            "DRIVER": ["postgresql+asyncpg"] * 12 + ["sqlite+aiosqlite", "", "postgresql", "POSTGRESQL+ASYNCPG", "postgresql+asyncpg "],
            "HOST": self.HOSTS[:12] + self.HOSTS, "PORT": ["5432"] * 20 + self.NUMBERS, "USER": ["prefect"] * 6 + self.USERS,
            "PASSWORD": ["s3cret"] * 12 + self.PASSWORDS,
            "NAME": ["prefect"] * 10 + [text[1:] for text in self.DATABASES if text] + ["/data/p.db", ":memory:"],
        }
        chance = self.pick([0.0, 0.05, 0.05, 0.2])
        for part, pool in parts.items():
            if self.random.random() >= chance:
                env[self.cased(self.prefix() + part)] = self.odd(pool, 0.25)
        if self.random.random() < 0.15:
            env[self.prefix() + "CONNECTION_URL"] = GOOD
        return env

    def templated(self):
        name = self.pick([API, SERVER]) + "PASSWORD"
        template = self.pick(["${" + name + "}"] * 8 + ["$" + name, name, "${" + name.lower() + "}", "$(" + name + ")", "${" + name])
        env = {self.prefix() + "CONNECTION_URL": f"postgresql+asyncpg://prefect:{template}@db.example:5432/prefect"}
        if self.random.random() < 0.85:
            env[self.prefix() + "PASSWORD"] = self.odd(self.PASSWORDS, 0.7)
        return env

    def misnamed(self):
        name = self.pick([
            "PREFECT_DATABASE_CONNECTION_URL", "PREFECT_ORION_DATABASE_CONNECTION_URL", "PREFECT__SERVER__DATABASE__CONNECTION_URL",
            "DATABASE_URL", "CONNECTION_URL", "PREFECT_SERVER_DATABASE_URL", "PREFECT_SERVER_DATABASE__CONNECTION_URL",
            "PREFECT_API_DATABASE_CONNECTION_URI", "PREFECT_SERVER_DATABASE_CONNECTION_URL_", "PREFECT_API_DATABASE_NAME",
        ])
        return {name: GOOD}

    def valued(self):
        env = {self.prefix() + "CONNECTION_URL": self.pick([GOOD] * 6 + ["sqlite+aiosqlite:////data/p.db", GOOD + "?statement_cache_size=0",
                                                                       GOOD + "?ssl=bogus", GOOD + "?server_settings=x", GOOD + "?direct_tls=1"])}
        kind = self.random.random()
        args = SERVER + "SQLALCHEMY_CONNECT_ARGS_"
        if kind < 0.3:
            env[self.cased(self.pick(named("bool") + [API + "MIGRATION_TIMEOUT"]))] = self.pick(self.TRUTHS)
        elif kind < 0.9:
            names = named("int") + named("float") + named("positive-float")
            unread = [API + "MIGRATION_TIMEOUT", API + "SQLALCHEMY_POOL_SIZE", "PREFECT_SQLALCHEMY_POOL_RECYCLE"]
            env[self.cased(self.pick(names + unread))] = self.pick(self.NUMBERS)
        else:
            texts = [name for name in named("text") if "CONNECT_ARGS" in name]
            env[self.pick([name for name in named("json") if name != "PREFECT_SERVER"] + named("driver") + texts)] = self.pick(self.GROUPS)
        return env


# What several worker processes have to share, by each of its names.
SHARED = {
    ("PREFECT_SERVER_EVENTS_MESSAGING_BROKER", "PREFECT_MESSAGING_BROKER"): "messaging",
    ("PREFECT_SERVER_EVENTS_MESSAGING_CACHE", "PREFECT_MESSAGING_CACHE"): "messaging",
    ("PREFECT_SERVER_EVENTS_CAUSAL_ORDERING",): "ordering",
    ("PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE",): "lease_storage",
}
IN_MEMORY = {
    "messaging": "prefect.server.utilities.messaging.memory",
    "ordering": "prefect.server.events.ordering.memory",
    "lease_storage": "prefect.server.concurrency.lease_storage.memory",
}


def workers(seed, count):
    """Servers with `--workers`, most of whose settings are those of Redis."""
    rng = random.Random(f"workers {seed}")
    for number in range(count):
        url = rng.choice([GOOD] * 5 + ["sqlite+aiosqlite:////data/prefect.db"])
        env = {rng.choice([SERVER, API]) + "CONNECTION_URL": url}
        for names, module in SHARED.items():
            value = rng.choice([f"prefect_redis.{module}"] * 8 + [IN_MEMORY[module], None])
            if value is not None:
                name = rng.choice(names)
                env[rng.choice([name] * 5 + [name.lower()])] = value
        yield {"case": f"workers {number}", "env": env, "workers": rng.choice([0, 1, 1, 2, 2, 2, 4])}


def usable(env):
    """What can be in an environment at all, and names that mean one thing."""
    lowered = [name.lower() for name in env]
    return len(set(lowered)) == len(lowered) and not any("\0" in value for value in env.values())


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("cases", nargs="?")
    arguments.add_argument("--seed", type=int, default=20261123)
    arguments.add_argument("--count", type=int, default=1500)
    options = arguments.parse_args()
    cases = json.load(open(options.cases)) if options.cases else []
    for edge in EDGES:
        url = f"postgresql+asyncpg://{edge}"
        cases.append({"case": f"edge {edge!r}", "env": {SERVER + "CONNECTION_URL": url}})
    grammar = Grammar(options.seed)
    seen = set()
    while len(seen) < options.count:
        env = grammar.case()
        key = json.dumps(env, sort_keys=True)
        if usable(env) and key not in seen:
            seen.add(key)
            cases.append({"case": f"generated {len(seen)}", "env": env})
    cases += workers(options.seed, options.count // 10)
    gc.freeze()  # what has been imported is not looked through again for each case
    for case in cases:
        judged = {key: case[key] for key in ("env", "workers") if key in case}
        expect, why = verdict(**judged)
        print(json.dumps({"case": case["case"], **judged, "expect": expect, "why": why}))


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
