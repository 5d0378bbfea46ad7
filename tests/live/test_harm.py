"""We never take down a server that would run: the containers that `inject` adds to the manifests
of tests/fixtures/cases, on a real database, beside what the real Prefect would do there itself.

"The server would start" stands for: the words of its own container are run up to the call of
Prefect, and with the environment that they leave there the same release of Prefect reads its
settings and its own engine connects and gets an answer. That is what `prefect server start`
does before it listens, but for the migration, which is ours here.
"""

import concurrent.futures
import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import yaml

import migration
from guard import binary
from podrunner import Unsupported
from services import CANARY, Postgres
from stage import OURS, Stage, release

FIXTURES = migration.ROOT / "tests/fixtures"
# What Prefect's database depends on; the rest of an environment makes no new case.
MATTERS = re.compile(
    r"PREFECT_.*(DATABASE|SQLALCHEMY|PROFILE|HOME|PLUGIN|INTEGRATIONS|TEST)"
    r"|PREFECT(_SERVER|_API)?$|PG",
    re.IGNORECASE,
)
SERVER = re.compile(
    r"'server|server (start|database)|uvicorn|orion|services|create_app"
)


# --- which containers ---------------------------------------------------------------------


def guarded(path):
    """The manifest with our container, if `check` lets it pass; else nothing."""
    checked = subprocess.run(
        [binary(), "check", "--format", "json", path], capture_output=True, check=False
    )
    if checked.returncode:
        return []
    done = subprocess.run([binary(), "inject", path], capture_output=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def pods(documents):
    for document in documents:
        spec = (document or {}).get("spec") or {}
        if "jobTemplate" in spec:
            spec = spec["jobTemplate"]["spec"]
        template = spec.get("template") if isinstance(spec, dict) else None
        if isinstance(template, dict) and template.get("spec"):
            yield template["spec"]


def pairs(path):
    """Our container and the server's whose database it is, of each pod that got one."""
    before = [
        each for pod in pods(yaml.safe_load_all(Path(path).read_text()))
        for each in pod.get("initContainers") or []
    ]  # fmt: skip
    for pod in pods(guarded(path)):
        ours = [c for c in pod.get("initContainers") or [] if c["name"] == OURS]
        if not ours or ours[0] in before:
            continue
        like = [
            container for fields in (("image", "env", "envFrom"), ("image",))
            for container in [*pod["containers"], *pod["initContainers"]]
            if container is not ours[0] and (SERVER.search(str(container)) or len(pod["containers"]) == 1) and all(container.get(f) == ours[0].get(f) for f in fields)
        ]  # fmt: skip
        assert like, f"{path}: our container is like no server"
        yield ours[0], like[0]


def told_apart(manifests):
    """Each pair of containers once, with the first file that has it."""
    found = {}
    for path in manifests:
        for ours, server in pairs(path):
            parts = [
                [release(each["image"]), *(each.get(f) for f in
                 ("command", "args", "env", "envFrom", "workingDir"))]
                for each in (ours, server)
            ]  # fmt: skip
            found.setdefault(json.dumps(parts), (path, ours, server))
    return list(found.values())


# --- where they run -----------------------------------------------------------------------


class Theatre:
    """A PostgreSQL whose databases have two users of their own name: one with the password
    of Secrets, one, `…_free`, that needs none."""

    def __init__(self, directory):
        self.directory = directory
        self.server = Postgres(directory).start()
        self.execute("CREATE ROLE free")
        hba = self.server.data / "pg_hba.conf"
        free = "host all +free all trust\nlocal all +free trust\n"
        hba.write_text(free + hba.read_text())
        self.execute("SELECT pg_reload_conf()")
        self.lock = threading.Lock()
        self.numbers = itertools.count()

    def execute(self, *statements):
        with self.server.connect() as db:
            for statement in statements:
                db.execute(statement)

    def database(self):
        with self.lock:
            name = self.server.create_database().name
        self.execute(
            f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{CANARY}'",
            f"CREATE ROLE {name}_free SUPERUSER LOGIN IN ROLE free",
        )
        return name

    def stage(self, prefect, holds, database="database"):
        folder = self.directory / f"stage-{next(self.numbers)}"
        return Stage(folder, prefect, self.server, database, holds)


@pytest.fixture(scope="module")
def theatre(open_directory):
    theatre = Theatre(open_directory())
    yield theatre
    theatre.server.stop()


class Judges:
    """A process of `would_start.py` for each Prefect."""

    def __init__(self):
        self.running, self.known = {}, {}
        self.lock = threading.Lock()

    def ask(self, stage, env, words):
        case = {"env": env, "cwd": str(stage.home), "words": words}
        key = json.dumps(
            [stage.prefect, {n: v for n, v in env.items() if MATTERS.match(n)}, words]
        )
        key = key.replace(str(stage.root), "").replace(stage.database, "")
        with self.lock:
            if key in self.known and self.known[key]["driver"] == "postgresql":
                return self.known[key]
            judge = self.running.get(stage.prefect) or self.start(stage)
            judge.stdin.write(json.dumps(case) + "\n")
            judge.stdin.flush()
            self.known[key] = json.loads(judge.stdout.readline())
            return self.known[key]

    def start(self, stage):
        self.running[stage.prefect] = subprocess.Popen(
            [stage.venv / "python", migration.ROOT / "tests/live/would_start.py"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        return self.running[stage.prefect]

    def end(self):
        for judge in self.running.values():
            judge.kill()
            judge.wait(10)


@pytest.fixture
def judges():
    judges = Judges()
    yield judges
    judges.end()


# --- what is run --------------------------------------------------------------------------


@dataclasses.dataclass(eq=False)
class Case:
    """A pair of containers that behaves like no other, with the first file that has it."""

    path: Path
    ours: dict
    server: dict
    prefect: str
    holds: str
    words: tuple
    env: tuple

    def name(self):
        return f"{self.path.name} (Prefect {self.prefect}, its Secrets: {self.holds})"

    def on_sqlite(self):
        """As far as one can see from outside."""
        return not any("postgres" in value for _, value in self.env)

    def like(self):
        """What decides how an empty database fares."""
        return self.prefect, "SCRIPT" in self.words, self.on_sqlite()


def contents(server):
    """What its Secrets may hold; a URL for PostgreSQL is the first."""
    yield "postgresql"
    referred = [e["name"] for e in server.get("env") or [] if "KeyRef" in str(e)]
    if server.get("envFrom") or any(name.upper().endswith("URL") for name in referred):
        yield "sqlite"
    if server.get("envFrom"):
        yield "nothing"


def cases(theatre, manifests):
    """All cases of these manifests; what cannot be run here, with the reason."""
    found, unrun = {}, {}
    for path, ours, server in told_apart(manifests):
        for holds in contents(server):
            prefect = release(ours["image"])
            stage = Stage(
                theatre.directory / "dry", prefect, theatre.server, "database", holds
            )
            try:
                env, _ = stage.called(server)
                own = stage.environment(ours)
                words = stage.words(ours, own)
            except Unsupported as error:
                unrun[path.name] = str(error)
                continue
            words = tuple(word if len(word) < 999 else "SCRIPT" for word in words)
            seen = tuple(sorted((k, v) for k, v in env.items() if MATTERS.match(k)))
            mine = tuple(sorted((k, v) for k, v in own.items() if MATTERS.match(k)))
            case = Case(
                path, ours, server, prefect, holds, words, tuple(sorted({*seen, *mine}))
            )
            key = prefect, words, seen, mine
            if holds != "postgresql":  # what stands in front was shown with the first
                key = case.like()
            found.setdefault(key, case)
    return list(found.values()), unrun


class Play:
    """Runs cases, and keeps what was shown."""

    def __init__(self, theatre, judges):
        self.theatre, self.judges = theatre, judges
        self.migrated = {}
        self.harm, self.still, self.stopped, self.runs = [], [], [], 0

    def empty(self, case):
        """On an empty database, and again on what that has made of it."""
        database = self.theatre.database()
        stage = self.theatre.stage(case.prefect, case.holds, database)
        judged = self.run(case, stage, "empty")
        if judged["starts"]:
            self.run(case, stage, "migrated")
            kept = judged["name"] if judged["driver"] == "sqlite" else database
            self.migrated.setdefault((case.prefect, judged["driver"]), kept)

    def again(self, case):
        """On a database that this Prefect has migrated."""
        database = self.migrated[case.prefect, "postgresql"]
        stage = self.theatre.stage(case.prefect, case.holds, database)
        judged = self.judge(case, stage)
        if judged["driver"] == "sqlite":
            shutil.copy(self.migrated[case.prefect, "sqlite"], judged["name"])
        self.run(case, stage, "migrated", judged)

    def judge(self, case, stage):
        env, words = stage.called(case.server)
        return self.judges.ask(stage, env, words)

    def run(self, case, stage, state, judged=None):
        judged = judged or self.judge(case, stage)
        where = f"{case.name()}, {state} database"
        process = stage.run(case.ours)
        self.runs += 1
        code, said = process.process.returncode, process.output()
        if not judged["starts"]:
            self.still.append(f"{where}: {judged['why']}")
        elif code and judged["driver"] == "sqlite" and "names a PostgreSQL" in said:
            self.stopped.append(where)  # the manifest shows one, and it is not read
        elif code:
            self.harm.append(
                f"{where}: exit {code}: {' '.join(case.words)}\n{said[-900:]}"
            )
        return judged

    def all(self, cases):
        first = {}
        for case in cases:
            first.setdefault(case.like(), case)
        first = list(first.values())
        self.at_once(self.empty, first)
        self.at_once(self.again, [case for case in cases if case not in first])

    @staticmethod
    def at_once(do, cases):
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(do, cases))


@pytest.mark.timeout(1800)
def test_fixtures(theatre, judges, note):
    """Each case that `check` does not refuse: our container exits 0 on an empty and on a migrated
    database wherever the server itself would start."""
    found, unrun = cases(theatre, sorted((FIXTURES / "cases").glob("*.yaml")))
    play = Play(theatre, judges)
    play.all(found)
    assert not play.harm, "\n\n".join(play.harm)
    assert not unrun
    # Else little would be shown.
    assert not play.still, "\n".join(play.still)
    assert play.runs >= 20
    note(f"{play.runs} runs of {len(found)} kinds of containers")
