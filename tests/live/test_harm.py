"""We never take down a server that would run: the containers that `inject` adds to manifests, on
a real database, beside what the real Prefect would do there itself.

"The server would start" stands for: the words of its own container are run up to the call of
Prefect, and with the environment that they leave there the same release of Prefect reads its
settings and its own engine connects and gets an answer. That is what `prefect server start`
does before it listens, but for the migration, which is ours here; that it comes to the same is
shown with real starts at the end of this file.
"""

import collections
import concurrent.futures
import dataclasses
import http.client
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

import generated
import migration
from guard import binary
from migration import MIDWAY, NEWEST, OLD_URL, OLDEST, PREFECT_2, RECENT, URL
from podrunner import Unsupported
from services import HOST, free_port, until
from stage import OURS, release
from theatre import MATTERS, Judges, Theatre

FIXTURES = migration.ROOT / "tests/fixtures"
FOLDERS = ("cases", "rules", "bypass", "manifests", "krm")
RELEASES = (PREFECT_2, OLDEST, MIDWAY, RECENT, NEWEST)
SERVER = re.compile(
    r"'server|server (start|database)|uvicorn|orion|services|create_app"
)
IMAGE = re.compile(r"""image["']?: *["']?([^\s"',}]+)""")
# For one container: half a minute on an idle machine.
SECONDS = 240
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# A shell would double a variable up to half a gigabyte.
LEFT_OUT = "variables-that-double.yaml"
# The server itself would not start, so that nothing is asked of ours: the manifest, and why.
STILL = {
    # `2-latest` has no such command any more.
    "helm-2023-02-orion.yaml (2.20.20, postgresql)": "no command `orion`",
    "helm-2023-02-orion.yaml (2.20.20, sqlite)": "no command `orion`",
    # 3.4.0 stands for 3.0.11, which does not read the setting.
    "warn-late-settings-on-3.0.11.yaml (3.4.0, postgresql)": "ValidationError",
    # `postgresql` as the driver of parts, under the policy `warn`.
    "generated-15.yaml (3.8.8, postgresql)": "ValidationError",
    # A file that stands for any Secret's has the password unquoted.
    "password-exported-by-the-script.yaml (3.8.8, postgresql)": "ValueError",
    # asyncpg's own default, where no PostgreSQL of a test listens.
    "warn-no-host.yaml (3.8.8, postgresql)": "ConnectionRefusedError",
}
# The manifest shows a PostgreSQL that does not reach Prefect, and nobody has exempted it: ours
# stops, and says so, where the server would start with SQLite.
STOPPED = {}


# --- which containers ---------------------------------------------------------------------


def said(*command):
    """The exit code and the output of our program."""
    done = subprocess.run(
        [binary(), *command], capture_output=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr.decode()


def guarded(path, policy):
    """The manifest with our container, if `check` lets it pass; else nothing."""
    options = ["--policy", policy] if policy else []
    code, _, error = said("check", "--format=json", *options, path)
    assert code in (0, 1), f"check {path}: exit {code}: {error}"
    if code:
        return None
    code, text, error = said("inject", *options, path)
    assert code == 0, f"inject {path}: exit {code}: {error}"
    return list(yaml.load_all(text, LOADER))


def pods(documents):
    for document in documents:
        spec = (document or {}).get("spec") or {}
        if "jobTemplate" in spec:
            spec = spec["jobTemplate"]["spec"]
        template = spec.get("template") if isinstance(spec, dict) else None
        if isinstance(template, dict) and template.get("spec"):
            yield template["spec"]


def pairs(source):
    """Our container and the server's whose database it is, of each pod that got one; nothing if
    the manifest is refused."""
    path, policy = source
    before = [
        each for pod in pods(yaml.load_all(path.read_text(), LOADER))
        for each in pod.get("initContainers") or []
    ]  # fmt: skip
    documents = guarded(path, policy)
    if documents is None:
        return None
    found = []
    for pod in pods(documents):
        ours = [c for c in pod.get("initContainers") or [] if c["name"] == OURS]
        if not ours or ours[0] in before:
            continue
        like = [
            container for fields in (("image", "env", "envFrom"), ("image",))
            for container in [*pod["containers"], *pod["initContainers"]]
            if container is not ours[0] and (SERVER.search(str(container)) or len(pod["containers"]) == 1) and all(container.get(f) == ours[0].get(f) for f in fields)
        ]  # fmt: skip
        assert like, f"{path}: our container is like no server"
        found.append((ours[0], like[0]))
    return found


def releases(path):
    """The Prefects here for the images that a manifest names."""
    return {release(image) for image in IMAGE.findall(path.read_text())} or {NEWEST}


def fixtures(prefect):
    """The manifests in the repository that concern a Prefect, but for one. None has a policy."""
    for folder in FOLDERS:
        for path in sorted((FIXTURES / folder).rglob("*.yaml")):
            if path.name != LEFT_OUT and prefect in releases(path):
                yield path, None


def told_apart(sources, prefect):
    """Each pair of containers once, with the first manifest that has it; how many manifests are
    refused."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(pairs, sources))
    found = {}
    for (path, _), result in zip(sources, results, strict=True):
        for ours, server in result or []:
            own = release(ours["image"])
            assert own in releases(path), f"{path} would have been left out"
            parts = [
                [each.get(f) for f in ("command", "args", "env", "envFrom", "workingDir")]
                for each in (ours, server)
            ]  # fmt: skip
            if own == prefect:
                found.setdefault(json.dumps(parts), (path, ours, server))
    return list(found.values()), sum(result is None for result in results)


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
        return f"{self.path.name} ({self.prefect}, {self.holds})"

    def on_sqlite(self):
        """As far as one can see from outside."""
        return not any("postgres" in value for _, value in self.env)

    def unnamed(self):
        """Whether a URL names no database: the user's own is another one."""
        return any(re.search(r"//[^/?]+/?$", value) for _, value in self.env)

    def like(self):
        """What decides how an empty database fares."""
        holds = self.on_sqlite() and self.holds
        own = self.unnamed() and self.path
        return "SCRIPT" in self.words, self.on_sqlite(), holds, own


def contents(server):
    """What its Secrets may hold; a URL for PostgreSQL is the first."""
    yield "postgresql"
    referred = [e["name"] for e in server.get("env") or [] if "KeyRef" in str(e)]
    if server.get("envFrom") or any(name.upper().endswith("URL") for name in referred):
        yield "sqlite"
    if server.get("envFrom"):
        yield "nothing"


def dry(theatre, prefect, path, ours, server, holds):
    """The case of two containers, and what tells it from others; all but a database is there."""
    stage = theatre.stage(prefect, holds, "database")
    try:
        env, _ = stage.called(server)
        own = stage.environment(ours)
        words = stage.words(ours, own)
    finally:
        shutil.rmtree(stage.root)

    def here(text):
        return text.replace(str(stage.root), "")

    words = tuple(here(word) if len(word) < 999 else "SCRIPT" for word in words)
    seen, mine = (
        tuple(sorted((k, here(v)) for k, v in each.items() if MATTERS.match(k)))
        for each in (env, own)
    )
    both = tuple(sorted({*seen, *mine}))
    case = Case(path, ours, server, prefect, holds, words, both)
    # Where something else is in its Secrets, what stands in front was shown with the first.
    return case, (words, seen, mine) if holds == "postgresql" else (case.like(), holds)


def cases(theatre, prefect, found):
    """All cases of these pairs; what cannot be run here, with the reason."""
    kept, unrun = {}, {}
    wanted = [(*each, holds) for each in found for holds in contents(each[2])]
    # Short processes, which are waited for: more of them than there are processors.
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        tries = [pool.submit(dry, theatre, prefect, *each) for each in wanted]
    for (path, _, _, holds), tried in zip(wanted, tries, strict=True):
        try:
            case, key = tried.result()
            kept.setdefault(key, case)
        except Unsupported as error:
            unrun[f"{path.name} ({prefect}, {holds})"] = str(error).strip()
    return list(kept.values()), unrun


class Play:
    """Runs cases of one Prefect, and keeps what was shown. The Python of a container is a fork
    (forked.py); `compared` cases are run once more without, and must come to the same."""

    # Two cases, so many apart, on a migrated PostgreSQL and SQLite each, and one on an empty database.
    EACH = 8

    def __init__(self, theatre, judges, forks, prefect):
        self.theatre, self.judges, self.prefect = theatre, judges, prefect
        self.forks = forks
        self.lock = threading.Lock()
        self.compared, self.agreed = set(), collections.Counter()
        self.harm, self.runs, self.shown = [], [], collections.Counter()
        self.still, self.stopped, self.migrated = {}, {}, {}

    def empty(self, case):
        """On an empty database, and again on what that has made of it."""
        database = self.theatre.database()
        stage = self.theatre.stage(self.prefect, case.holds, database)
        judged = self.judges.judge(stage, case.server)
        process = self.run(case, stage)
        code = self.look(case, judged, "empty", process)
        if case in self.compared:
            other = self.theatre.stage(
                self.prefect, case.holds, self.theatre.database()
            )
            self.compare(case, stage, process, other)
        if judged["starts"] and not code:
            self.look(case, judged, "migrated", self.run(case, stage))
            sqlite = judged["driver"] == "sqlite"
            if not case.unnamed():
                kept = judged["name"] if sqlite else database
                self.migrated.setdefault(judged["driver"], kept)

    def again(self, case):
        """On a database that this Prefect has migrated."""
        database = self.on("postgresql")
        stage, *others = stages = [
            self.theatre.stage(self.prefect, case.holds, database)
            for _ in range(2 if case in self.compared else 1)
        ]
        process = None
        if not case.on_sqlite():
            process = self.run(case, stage)
            needs = f"as Prefect {self.prefect} needs it"
            if process.process.returncode == 0 and needs in process.output():
                # It has seen the schema: there is nothing to judge, which takes longer.
                for other in others:
                    self.compare(case, stage, process, other)
                self.runs.append(case)
                self.shown["postgresql"] += 1
                return
        judged = self.judges.judge(stage, case.server)
        if judged["driver"] == "sqlite":
            for each in stages:
                name = judged["name"].replace(str(stage.root), str(each.root))
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.on("sqlite"), name)
            process = None  # that was an empty one
        process = process or self.run(case, stage)
        self.look(case, judged, "migrated", process)
        for other in others:
            self.compare(case, stage, process, other)

    def run(self, case, stage):
        return stage.run(case.ours, SECONDS, forks=self.forks)

    def compare(self, case, stage, process, other):
        """The same in processes of its own: the same words, and the same end."""
        fresh = other.run(case.ours, SECONDS)
        ends = [self.end(*ran) for ran in ((stage, process), (other, fresh))]
        if ends[0] != ends[1]:
            self.failed(case, f"as a fork {ends[0]}, otherwise {ends[1]}")
        self.agreed[case.on_sqlite()] += 1

    @staticmethod
    def end(stage, process):
        """How a container ended, wherever it ran. What it says of other databases depends on what
        is there by then."""
        text = process.output().replace(str(stage.root), "")
        text = re.sub(rf"\b{stage.database}(?=_free\b|\b)", "", text)
        lines = [line for line in text.splitlines() if "did you mean" not in line]
        return process.process.returncode, lines

    def on(self, driver):
        """What has been migrated; where nothing of ours has done so, by Prefect alone."""
        with self.lock:
            if driver not in self.migrated:
                database = self.theatre.database()
                stage = self.theatre.stage(self.prefect, driver, database)
                env = migration.environment(self.prefect, stage.home, stage.url())
                plain = migration.Process(migration.UPGRADE, env, stage.root / "log")
                assert plain.wait() == 0, plain.output()
                file = stage.root / "data/prefect.db"
                self.migrated[driver] = file if driver == "sqlite" else database
            return self.migrated[driver]

    def look(self, case, judged, state, process):
        """Note how our container ended, where the server would start and where not."""
        code, output = process.process.returncode, process.output()
        self.runs.append(case)
        if not judged["starts"]:
            self.still[case.name()] = judged["why"]
        elif not code:
            self.shown[judged["driver"]] += 1
        elif judged["driver"] == "sqlite" and "names a PostgreSQL" in output:
            self.stopped[case.name()] = output
        else:
            words = " ".join(case.words)
            end = f"exit {code}: {words}\n{output[-900:]}"
            self.failed(case, f"{state} database: {end}")
        return code

    def failed(self, case, why):
        self.harm.append(f"{case.name()}: {why}\n{case.path}")

    def all(self, cases):
        first = {}
        for case in cases:
            first.setdefault(case.like(), case)
        first = list(first.values())
        rest = [case for case in cases if case not in first]
        self.compared = {next(case for case in first if not case.on_sqlite())}
        for sqlite in (False, True):
            like = [case for case in rest if case.on_sqlite() == sqlite]
            like = like or [case for case in first if case.on_sqlite() == sqlite]
            self.compared.update(like[:: self.EACH][:2])
        self.at_once(self.empty, first)
        self.at_once(self.again, rest)
        return len(first)

    def at_once(self, do, cases):
        def tried(case):
            try:
                do(case)
            except Exception as error:  # noqa: BLE001 (the others are to be shown too)
                self.failed(case, repr(error))

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(tried, cases))


@pytest.fixture(scope="module")
def theatre(open_directory):
    theatre = Theatre(open_directory())
    yield theatre
    theatre.server.stop()


@pytest.fixture(scope="module")
def judges():
    judges = Judges()
    yield judges
    judges.end()


def of(table, prefect):
    return {name: why for name, why in table.items() if f"({prefect}, " in name}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("prefect", RELEASES)
def test_manifests(theatre, judges, forks, note, tmp_path, prefect):
    """Each container that is added to a fixture or a generated manifest which `check` does not
    refuse exits 0 on a migrated database, and each kind of them (script or plain call, PostgreSQL
    or SQLite, what the Secrets hold) on an empty one before, wherever the server would start."""
    sources = [*fixtures(prefect), *generated.written(tmp_path, prefect)]
    found, refused = told_apart(sources, prefect)
    every, unrun = cases(theatre, prefect, found)
    play = Play(theatre, judges, forks, prefect)
    empty = play.all(every)
    note(
        f"{len(sources)} manifests, {refused} of them refused: {len(every)} containers, "
        f"{len(play.runs)} runs, {empty} from an empty database; "
        f"{len(play.still)} of servers that do not start, {len(play.stopped)} stopped for a "
        "PostgreSQL that is not read"
    )
    assert not play.harm, "\n\n".join(play.harm)
    assert not unrun
    assert play.still == of(STILL, prefect)
    assert play.stopped.keys() == of(STOPPED, prefect).keys()
    assert play.agreed[True] and play.agreed[False]
    assert min(play.shown["postgresql"], play.shown["sqlite"]) >= 4, play.shown


# --- whether the judge is right -----------------------------------------------------------

STARTS = {
    "a Secret": (OLDEST, "postgresql", {"source": "a key of a Secret", "call": "tini", "name": OLD_URL}),
    "references": (RECENT, "postgresql", {"source": "references", "call": "a shell"}),
    "its parts": (NEWEST, "postgresql", {"source": "its parts"}),
    "a file": (NEWEST, "sqlite", {"source": "a value", "call": "uv", "driver": "sqlite+aiosqlite"}),
    "a name that is not read": (OLDEST, "sqlite", {"source": "a value"}),
    "a sync driver": (NEWEST, None, {"source": "a value", "driver": "postgresql"}),
    "no such database": (RECENT, None, {"source": "a value"}),
}  # fmt: skip
USUAL = {"call": "prefect", "driver": "postgresql+asyncpg", "name": URL, "policy": "enforce"}  # fmt: skip


def comes_up(process, port):
    """Whether a server answers, or ends before."""
    address = f"http://{HOST}:{port}/api/health"

    def known():
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.status
        except (OSError, http.client.HTTPException):
            return not process.running() and "ended"

    return until(known, 240, "the server answers or ends") == 200


@pytest.mark.parametrize(
    "which", STARTS, ids=[f"{name}, {start[0]}" for name, start in STARTS.items()]
)
def test_real_starts(theatre, judges, note, which):
    """What is taken for a server that would start does: it migrates its database and answers; what
    is not ends."""
    prefect, wanted, chosen = STARTS[which]
    manifest = generated.manifest({**USUAL, **chosen, "release": prefect})
    (server,) = next(pods([manifest]))["containers"]
    database = "absent" if which == "no such database" else theatre.database()
    if database == "absent":
        theatre.execute("CREATE ROLE absent_free SUPERUSER LOGIN IN ROLE free")
    stage = theatre.stage(prefect, "postgresql", database)
    judged = judges.judge(stage, server)
    assert (judged["starts"], judged["driver"]) == (wanted is not None, wanted), judged
    port = free_port()
    began = time.monotonic()
    process = stage.start(server, PREFECT_SERVER_API_PORT=str(port))
    try:
        assert comes_up(process, port) == judged["starts"], process.output()
    finally:
        process.kill()
    if wanted == "sqlite":
        assert Path(judged["name"]).stat().st_size
    if wanted == "postgresql":
        with theatre.server.connect(database) as db:
            assert db.execute("SELECT to_regclass('flow_run')").fetchone() != (None,)
    note(f"{time.monotonic() - began:.1f} s")
