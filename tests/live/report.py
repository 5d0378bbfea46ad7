"""Makes the table of docs/tested.md from the run itself.

With `--write-table` a complete and green run writes the table; without, a complete run
checks that it names the tests there are, so that the table cannot fall behind them.
"""

import os
import platform
import re
import subprocess
from pathlib import Path

import migration

TABLE = migration.ROOT / "docs/tested.md"
VERSIONS = {}
NOTES = {}
RESULTS = {}


def version(name, text):
    VERSIONS[name] = text


def note(item, text):
    NOTES.setdefault(item.nodeid, []).append(text)


def pytest_addoption(parser):
    parser.addoption("--write-table", action="store_true", help=f"write {TABLE.name}")


def title(item):
    """What a test shows: the first sentence of its docstring, and its parameters."""
    text = " ".join((item.function.__doc__ or item.name).split("\n\n")[0].split())
    case = getattr(item, "callspec", None)
    return f"{text} ({case.id})" if case else text


def pytest_collection_modifyitems(items):
    for item in items:
        RESULTS[item.nodeid] = {"title": title(item), "file": item.path.name}


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        result = RESULTS[report.nodeid]
        result["outcome"] = report.outcome
        result["seconds"] = report.duration


def rows():
    for nodeid, result in RESULTS.items():
        measured = "; ".join(NOTES.get(nodeid, []))
        outcome = result.get("outcome", "not run")
        yield (
            f"| {result['file'].removeprefix('test_').removesuffix('.py')} | {result['title']} "
            f"| {outcome} | {result.get('seconds', 0):.1f} s | {measured} |"
        )


def table():
    os_release = platform.freedesktop_os_release()
    found = {
        os_release["NAME"]: f"{os_release['VERSION_ID']}, {os.cpu_count()} cores",
        **VERSIONS,
        "pgbouncer": output("pgbouncer", "--version").split()[1],
    }
    for prefect in (
        migration.NEWEST,
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
        "", "| suite | shown | outcome | time | measured |", "|---|---|---|---|---|",
        *rows(), "",
    ])  # fmt: skip


def output(*command):
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=30
    ).stdout


def titles(text):
    """The first two columns of the table's rows: what the tests are."""
    return [line.split(" | ")[:2] for line in text.splitlines() if " s | " in line]


def pytest_sessionfinish(session, exitstatus):
    option = session.config.option
    partly = option.keyword or option.markexpr or option.collectonly or option.deselect
    if partly or any("::" in arg or arg.endswith(".py") for arg in session.config.args):
        return
    if option.write_table and exitstatus == 0:
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table())
    elif not TABLE.exists() or titles(TABLE.read_text()) != titles(table()):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line(
            f"{TABLE} is not of these tests: run `pytest tests/live --write-table`",
            red=True,
        )
        session.exitstatus = 1
