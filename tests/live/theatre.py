"""A PostgreSQL for `stage.py`, and whether the server of a container would start on it."""

import itertools
import json
import re
import select
import subprocess
import threading

import migration
from services import CANARY, Postgres
from stage import Stage

# What Prefect's database depends on; the rest of an environment makes no new case.
MATTERS = re.compile(
    r"PREFECT_.*(DATABASE|SQLALCHEMY|PROFILE|HOME|PLUGIN|INTEGRATIONS|TEST)"
    r"|PREFECT(_SERVER|_API)?$|PG",
    re.IGNORECASE,
)


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
        """The name of a new one, which is its user's too."""
        with self.lock:
            name = self.server.create_database().name
        self.execute(
            f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{CANARY}'",
            f"CREATE ROLE {name}_free SUPERUSER LOGIN IN ROLE free",
            f"CREATE DATABASE {name}_free",  # for URLs that name none
        )
        return name

    def stage(self, prefect, holds, database):
        folder = self.directory / f"stage-{next(self.numbers)}"
        return Stage(folder, prefect, self.server, database, holds)


class Judges:
    """A process of `would_start.py` for each Prefect."""

    # Twice what that program allows itself.
    SECONDS = 120

    def __init__(self):
        self.running, self.known = {}, {}
        self.lock = threading.Lock()

    def judge(self, stage, server):
        """What that container's own call of the server would come to."""
        env, words = stage.called(server)
        case = {"env": env, "cwd": str(stage.home), "words": words}
        key = json.dumps(
            [stage.prefect, {n: v for n, v in env.items() if MATTERS.match(n)}, words]
        )
        key = key.replace(str(stage.root), "").replace(stage.database, "DATABASE")
        with self.lock:
            # A file is another one in each directory.
            if self.known.get(key, {}).get("driver") != "postgresql":
                self.known[key] = self.ask(stage, case)
            return self.known[key]

    def ask(self, stage, case):
        judge = self.running.get(stage.prefect) or self.start(stage)
        judge.stdin.write(json.dumps(case) + "\n")
        judge.stdin.flush()
        # It answers each line with one, so none is left in a buffer.
        ready, _, _ = select.select([judge.stdout], [], [], self.SECONDS)
        answer = judge.stdout.readline() if ready else ""
        assert answer, f"would_start.py with Prefect {stage.prefect} does not answer"
        return json.loads(answer)

    def start(self, stage):
        with migration.STARTING:
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
