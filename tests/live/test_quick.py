"""The quick way out: whether the schema is what the image needs, without importing Prefect."""

import os
import resource
import textwrap

import pytest

from migration import (
    MIDWAY,
    NEWEST,
    OLD_URL,
    OLDEST,
    PREFECT_2,
    RECENT,
    SCRIPT,
    STARTED,
    UPGRADE,
    URL,
    guarded,
)

# What the script does, but for its last part, which starts it.
PARTS, MARK, _ = SCRIPT.partition("\nEXPLAINED = os.pipe()")
assert MARK, "the parts end where the script begins to work"
ASK = PARTS + textwrap.dedent("""
    prefect = quick()
    found = False
    if prefect:
        found = asyncio.run(quick_way(prefect))
    assert not any(name.partition('.')[0] == 'prefect' for name in sys.modules)
    print('QUICK' if found else 'LONG' if prefect else 'UNUSUAL')
""")
HEADS = PARTS + textwrap.dedent("""
    quickly, fully = Quick(), Full()
    assert quickly.heads == fully.heads and quickly.known == fully.known
    chain, at = [], next(iter(quickly.heads))
    while at:
        chain, at = [at, *chain], quickly.after[at]
    print(*chain)
""")


def ask(start, url, prefect=NEWEST, script=ASK, **env):
    process = start(["python", "-c", script], url, prefect, **env)
    assert process.wait() == 0, process.output()
    return process.output().splitlines()[-1]


@pytest.mark.parametrize("prefect", [PREFECT_2, OLDEST, MIDWAY, RECENT, NEWEST])
def test_never_too_early(database, start, prefect, note):
    """The revisions read as text are Alembic's own, and no schema but the head's counts as
    migrated: empty, each tenth revision, ahead."""
    chain = ask(start, database.url(), prefect, HEADS).split()
    assert len(chain) > 90
    assert ask(start, database.url(), prefect) == "LONG"
    database.execute("CREATE TABLE alembic_version (version_num text)")
    assert ask(start, database.url(), prefect) == "LONG"
    database.execute("INSERT INTO alembic_version VALUES ('')")
    for at in [*chain[::10], "0123456789ab", "of_airflow"]:
        database.execute(f"UPDATE alembic_version SET version_num = '{at}'")
        assert ask(start, database.url(), prefect) == (
            "QUICK" if at == chain[-1] else "LONG"
        )
    database.execute(f"UPDATE alembic_version SET version_num = '{chain[-1]}'")
    assert ask(start, database.url(), prefect) == "QUICK"
    database.execute("INSERT INTO alembic_version VALUES ('0123456789ab')")
    assert ask(start, database.url(), prefect) == "LONG"
    note(f"{len(chain)} revisions")


@pytest.mark.parametrize(
    "env",
    [
        {"PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_SEARCH_PATH": "own"},
        {"PREFECT_API_DATABASE_PASSWORD": "other"},
        {"PREFECT_PROFILE": "other"},
        {"PREFECT_EXPERIMENTS_PLUGINS_ENABLED": "true"},
        {"PREFECT_SERVER_DATABASE_TIMEOUT": "soon"},
        {"prefect_server": "{}"},
        {"PGSSLMODE": "require"},
        {OLD_URL: "postgresql+asyncpg://u:p@elsewhere/db"},
    ],
    ids=lambda env: next(iter(env)),
)
def test_unusual(migrated, start, env):
    """Whatever else has a say in the database takes the long way."""
    assert ask(start, migrated.url(), **env) == "UNUSUAL"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://u:p@h/db?ssl=require",
        "postgresql+asyncpg://u:p@h1,h2/db",
        "postgresql+asyncpg://u:p@/db?host=/run",
        "postgresql+asyncpg://u@h/db",
        "postgresql://u:p@h/db",
        "sqlite+aiosqlite:////tmp/x.db",
        "postgresql+asyncpg://u:${P}@h/db",
    ],
)
def test_unusual_url(start, url):
    """A URL of another shape is left to Prefect."""
    assert ask(start, url) == "UNUSUAL"


def test_a_name_this_prefect_does_not_read(migrated, start):
    """Prefect 3.0.0 does not read the newer name: nothing is decided by it."""
    assert ask(start, None, OLDEST, **{URL: migrated.url()}) == "UNUSUAL"


@pytest.mark.parametrize("file", [".env", "prefect.toml", ".prefect/profiles.toml"])
def test_files(migrated, start, tmp_path, file):
    """A file of settings takes the long way."""
    path = tmp_path / "home" / file
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert ask(start, migrated.url()) == "UNUSUAL"


def cost(process):
    """CPU seconds and MiB of a process and its children."""
    _, status, used = os.wait4(process.process.pid, 0)
    process.process.returncode = os.waitstatus_to_exitcode(status)
    assert process.wait() == 0, process.output()
    assert resource.RUSAGE_SELF == 0
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def test_cost(migrated, start, note):
    """On a migrated database ours takes a quarter of the plain upgrade's CPU at most, and half
    of its memory."""
    ours, plain = [], []
    for _ in range(3):
        quick = start(guarded(), migrated.url())
        ours.append(cost(quick))
        assert STARTED not in quick.output()
        plain.append(cost(start(UPGRADE, migrated.url())))
    (cpu, memory), (plain_cpu, plain_memory) = min(ours), min(plain)
    note(
        f"{cpu:.2f} s and {memory:.0f} MiB, plain {plain_cpu:.2f} s, {plain_memory:.0f} MiB"
    )
    assert cpu <= plain_cpu / 4 and memory <= plain_memory / 2
