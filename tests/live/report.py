"""Makes the table of docs/tested.md from the runs themselves.

Every run keeps what its tests showed in target/live/results.json, as long as the script, the
test's file and the modules beside it stay as they are. `--write-table` writes the table from
that, if nothing in it has failed. The collection of the whole suite fails where the table names
a test that is no more, and where it lacks one.
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


HERE = Path(__file__).parent
# What no test imports: this file only writes of them, the others are programs of their own.
APART = {
    Path(__file__).name,
    "describe_prefect.py",
    "differential.py",
    "record_truth.py",
    "settings_names.py",
}
MODULES = sorted(
    path for path in HERE.glob("*.py")
    if path.name not in APART and not path.name.startswith("test_")
)  # fmt: skip


def fingerprint(file):
    """Changes with the scripts, the tests of that file and the suite's own modules: then a
    result is of no use."""
    parts = [migration.SCRIPT.encode(), migration.WAIT.encode()]
    parts += [path.read_bytes() for path in (HERE / file, *MODULES)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


# Taken at the start: a file that is edited while its tests run is another.
PRINTS = {path.name: fingerprint(path.name) for path in HERE.glob("test_*.py")}


def key(nodeid):
    """A test's file and name. What its parameters hold may have any character, `/` too."""
    path, _, name = nodeid.partition("::")
    return f"{Path(path).name}::{name}"


def keep():
    """Add this run's results to those kept that still hold; all of them."""
    with KEPT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = {"results": {}}
        if KEPT.exists():
            kept = json.loads(KEPT.read_text())
        for nodeid, result in RESULTS.items():
            if "outcome" in result:
                kept["results"][key(nodeid)] = result | {"of": PRINTS[result["file"]]}
        for name, result in list(kept["results"].items()):
            if result["of"] != PRINTS.get(result["file"]):
                del kept["results"][name]
        KEPT.write_text(json.dumps(kept, indent=1))
    return kept


def rows(results):
    for _, result in sorted(results.items()):
        yield (
            f"| {result['file'].removeprefix('test_').removesuffix('.py')} "
            f"| {cell(result['title'])} | {result['outcome']} | {result['seconds']:.1f} s "
            f"| {cell('; '.join(result['measured']))} |"
        )


def cell(text):
    """Text as a cell of a table has it."""
    return text.replace("|", r"\|")


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
        "In harm, and in all rounds but the first of pods at once, a container's Python is a fork of one that",
        "has imported the packages which Prefect is made of, and nothing of Prefect (`tests/live/forked.py`);",
        "harm runs some of its cases both ways and compares.",
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
    """The column of the table that says what its tests show, as the table has it."""
    _, _, rows = text.partition("| suite | shown |")
    ours, _, _ = rows.partition("<!-- clusters:")
    lines = [line.split(" | ") for line in ours.splitlines()[2:] if " | " in line]
    return {cells[1] for cells in lines}


def is_whole(config):
    option = config.option
    partly = option.keyword or option.markexpr or option.deselect
    return not partly and not any(arg.endswith((".py", "]")) for arg in config.args)


def pytest_collection_finish(session):
    """The table is of these tests: known before the first one runs."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.write_table:
        return
    # With worker processes the one that gathers the reports collects nothing.
    ours = {cell(title(item)) for item in session.items}
    if not ours or not is_whole(config):
        return
    named = titles(TABLE.read_text() if TABLE.exists() else "")
    wrong = [f"no more: {name}" for name in sorted(named - ours)]
    wrong += [f"not in it: {name}" for name in sorted(ours - named)]
    if wrong:
        raise pytest.UsageError(
            f"{TABLE} is not of these tests; run them all with --write-table:\n  "
            + "\n  ".join(wrong)
        )


def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        return  # a worker: the process that gathers all reports writes
    kept = keep()
    passed = all(result["outcome"] == "passed" for result in kept["results"].values())
    if session.config.option.write_table and passed:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table(kept) + clusters())
