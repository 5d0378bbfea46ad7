"""Makes the table of docs/tested.md from the runs themselves.

Every run keeps what its tests showed in target/live/results.json, as long as the script and
the suite stay as they are. `--write-table` writes the table from that, if nothing in it has
failed. `--collect-only` of the whole suite checks that the table names no test that is no
more, and says how many it lacks.
"""

import collections
import fcntl
import hashlib
import json
import os
import platform
import re
import subprocess
from pathlib import Path

import pytest

import migration
from services import binaries

TABLE = migration.ROOT / "docs/tested.md"
RESULTS = {}
# What a test says of itself travels with its report, also from one worker process to the one
# that writes the table.
TITLE, FILE, MEASURED = "title", "file", "measured"
KEPT = migration.LIVE / "results.json"
# What `record_truth.py` recorded: commands and settings, each run on real Prefects.
TRUTH = migration.ROOT / "tests/fixtures/truth/commands.json"
RECORDED = "recorded commands"


def note(item, text):
    item.user_properties.append((MEASURED, text))


def pytest_addoption(parser):
    parser.addoption("--write-table", action="store_true", help=f"write {TABLE.name}")


def title(item):
    """What a test shows: the first sentence of its docstring, and its parameters."""
    text = " ".join((item.function.__doc__ or item.name).split("\n\n")[0].split())
    case = getattr(item, "callspec", None)
    return f"{text} ({case.id})" if case else text


def pytest_collection_modifyitems(items):
    for item in items:
        item.user_properties += [(TITLE, title(item)), (FILE, item.path.name)]


def pytest_runtest_logreport(report):
    said = {}
    for key, value in report.user_properties:
        said.setdefault(key, []).append(value)
    if TITLE not in said:
        return  # a worker process that died says nothing but that; pytest counts it as failed
    result = RESULTS.setdefault(report.nodeid, {})
    result |= {TITLE: said[TITLE][0], FILE: said[FILE][0]}
    result[MEASURED] = said.get(MEASURED, [])
    if report.when == "call" or report.outcome != "passed":
        result["outcome"] = report.outcome
        result["seconds"] = report.duration


def fingerprint(file):
    """Changes with the script and the tests of that file: then a result is of no use."""
    tests = Path(__file__).with_name(file).read_bytes()
    return hashlib.sha256(migration.SCRIPT.encode() + tests).hexdigest()


# Taken at the start: a file that is edited while its tests run is another.
PRINTS = {
    path.name: fingerprint(path.name)
    for path in Path(__file__).parent.glob("test_*.py")
}


def keep():
    """Add this run's results to those kept that still hold; all of them."""
    with KEPT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = {"results": {}}
        if KEPT.exists():
            kept = json.loads(KEPT.read_text())
        for nodeid, result in RESULTS.items():
            if "outcome" in result:
                key = nodeid.rpartition("/")[2]
                kept["results"][key] = result | {"of": PRINTS[result["file"]]}
        for key, result in list(kept["results"].items()):
            if result["of"] != PRINTS.get(result["file"]):
                del kept["results"][key]
        KEPT.write_text(json.dumps(kept, indent=1))
    return kept


def rows(results):
    for _, result in sorted(results.items()):
        yield (
            f"| {result['file'].removeprefix('test_').removesuffix('.py')} "
            f"| {result['title']} | {result['outcome']} | {result['seconds']:.1f} s "
            f"| {'; '.join(result['measured'])} |"
        )


def releases(results):
    """How many tests of each suite, and of the recorded truth, ran on which Prefect."""
    known = (
        migration.PREFECT_2,
        migration.OLDEST,
        migration.MIDWAY,
        migration.RECENT,
        migration.NEWEST,
    )
    ran = collections.Counter()
    for key, result in results.items():
        suite = result["file"].removeprefix("test_").removesuffix(".py")
        named = {prefect for prefect in known if prefect in key}
        ran.update((suite, prefect) for prefect in named or {migration.NEWEST})
    for case in json.loads(TRUTH.read_text()):
        ran.update((RECORDED, prefect) for prefect in case["runs"])
    yield "| suite | " + " | ".join(known) + " |"
    yield "|---|" + "---:|" * len(known)
    for suite in sorted({suite for suite, _ in ran}):
        cells = (str(ran[suite, prefect] or "") for prefect in known)
        yield f"| {suite} | " + " | ".join(cells) + " |"


def table(kept):
    os_release = platform.freedesktop_os_release()
    found = {
        os_release["NAME"]: f"{os_release['VERSION_ID']}, {os.cpu_count()} cores",
        "PostgreSQL": output(binaries() / "postgres", "--version").split()[2],
        "pgbouncer": output("pgbouncer", "--version").split()[1],
    }
    for prefect in (
        migration.NEWEST,
        migration.RECENT,
        migration.MIDWAY,
        migration.OLDEST,
        migration.PREFECT_2,
    ):
        pins = (
            Path(__file__).parent / f"requirements/prefect-{prefect}.txt"
        ).read_text()
        names = ("sqlalchemy", "asyncpg", "alembic", "fastapi")
        pinned = {n: re.search(rf"^{n}==(\S+)", pins, re.MULTILINE) for n in names}
        text = ", ".join(f"{n} {m[1]}" for n, m in pinned.items() if m)
        found[f"Prefect {prefect}"] = f"Python {platform.python_version()}, {text}"
    return "\n".join([
        "# What was run on the real thing", "",
        "Written by the suite in `tests/live` itself (`pytest tests/live --write-table`); do",
        "not edit. Each line is a test that started real processes: Prefect from its package,",
        "PostgreSQL and pgbouncer from Debian's. Times are of one run on this machine, and differ.",
        "", "| what | version |", "|---|---|",
        *(f"| {name} | {text} |" for name, text in found.items()),
        "", "## Tests of each release of Prefect", "",
        "Counted by the releases in a test's name. One that names none is counted with the",
        f"newest known, {migration.NEWEST}; what its line below says of others comes on top.", "",
        *releases(kept["results"]),
        "", "## Each test", "", "| suite | shown | outcome | time | measured |", "|---|---|---|---|---|",
        *rows(kept["results"]), "",
    ])  # fmt: skip


def clusters():
    """The part of the page that `tests/e2e/run --write` wrote."""
    text = TABLE.read_text() if TABLE.exists() else ""
    _, mark, rest = text.partition("<!-- clusters:")
    return f"\n{mark}{rest}" if mark else ""


def output(*command):
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=30
    ).stdout


def titles(text):
    """The first two columns of the table's rows: what the tests are."""
    return {
        tuple(line.split(" | ")[:2]) for line in text.splitlines() if " s | " in line
    }


def is_whole(config):
    option = config.option
    partly = option.keyword or option.markexpr or option.deselect
    return not partly and not any(arg.endswith((".py", "]")) for arg in config.args)


def pytest_collection_finish(session):
    """The table names no test that is no more: known before the first one runs."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.write_table:
        return
    # With worker processes the one that gathers the reports collects nothing.
    ours = {title(item) for item in session.items}
    if not ours or not is_whole(config):
        return
    named = {name for _, name in titles(TABLE.read_text() if TABLE.exists() else "")}
    if named - ours:
        gone = "\n  ".join(sorted(named - ours))
        raise pytest.UsageError(
            f"{TABLE} has tests that are no more; use --write-table:\n  {gone}"
        )
    if ours - named:
        config.get_terminal_writer().line(
            f"{TABLE} lacks {len(ours - named)} of these tests: use --write-table"
        )


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        return  # a worker: the process that gathers all reports writes
    kept = keep()
    passed = all(result["outcome"] == "passed" for result in kept["results"].values())
    if session.config.option.write_table and passed:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table(kept) + clusters())
