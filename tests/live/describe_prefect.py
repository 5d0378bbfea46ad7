"""What the Prefect of this Python is, as far as the guard depends on it, as JSON.

Run by `tests/live/new-prefect` with a Python that has a Prefect. Only the standard library
and what Prefect brings along.
"""

import inspect
import json
import os
import re
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parent))

import asyncpg
import prefect
import prefect.server.database

from settings_names import names

# What deals with the server, and what stands above it.
GROUPS = ("server",)


def commands():
    """Each command of the group `server` with its options, in Prefect's own words."""
    try:
        from prefect.cli._app import _app as app
    except ImportError:
        from prefect.cli.root import app
        from typer.main import get_command

        return dict(of_click(get_command(app), []))
    return dict(of_cyclopts(app, []))


def of_click(command, path):
    inner = getattr(command, "commands", None)
    if inner is None:
        options = [o for p in command.params for o in (*p.opts, *p.secondary_opts)]
        yield " ".join(path), sorted(o for o in options if o.startswith("-"))
        return
    for name, below in inner.items():
        if path or name in GROUPS:
            yield from of_click(below, [*path, name])


def of_cyclopts(app, path):
    inner = [name for name in app if not name.startswith("-")]
    if app.default_command and path:
        options = [
            name
            for argument in app.assemble_argument_collection()
            for name in argument.names
            if name.startswith("-")
        ]
        yield " ".join(path), sorted(options)
    for name in inner:
        if path or name in GROUPS:
            yield from of_cyclopts(app[name], [*path, name])


def revisions():
    """The revisions that no other one follows, by the text of the migrations."""
    place = Path(prefect.server.database.__file__).parent / "_migrations/versions"
    if not place.exists():
        place = Path(prefect.__file__).parent / "server/database/migrations/versions"
    found = {}
    for database in ("postgresql", "sqlite"):
        own, followed = set(), set()
        for file in (place / database).glob("*.py"):
            text = file.read_text("utf-8")
            own |= set(re.findall(r"(?m)^revision\b[^=]*= *.(\w+)", text))
            followed |= set(re.findall(r"(?m)^down_revision\b[^=]*= *.(\w+)", text))
        found[database] = {"heads": sorted(own - followed), "revisions": len(own)}
    return found


def describe():
    return {
        "prefect": prefect.__version__,
        "settings": sorted({name.upper() for name in names()}),
        "commands": commands(),
        "migrations": revisions(),
        "asyncpg.connect": list(inspect.signature(asyncpg.connect).parameters),
    }


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever an import prints is none of the answer
    json.dump(describe(), out, indent=1)
    out.write("\n")
