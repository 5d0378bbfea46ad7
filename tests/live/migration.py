"""The migration's command line as the initContainer has it, run as a process."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

from services import CANARY, until

ROOT = Path(__file__).resolve().parents[2]


def script(*parts):
    """A script as a pod carries it, put together as src/migration/script.rs does."""
    texts = [ROOT / f"src/migration/script/{name}.py" for name in parts]
    return "\n\n".join(text.read_text() for text in texts)


SCRIPT = script("database", "diagnosis", "lock")
WAIT = script("database", "diagnosis", "wait")
LIVE = ROOT / "target/live"
UPGRADE = ("prefect", "server", "database", "upgrade", "-y")
NEWEST, RECENT, MIDWAY, OLDEST = "3.9.1", "3.8.8", "3.4.0", "3.0.0"
PREFECT_2 = "2.20.20"
URL = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
OLD_URL = "PREFECT_API_DATABASE_CONNECTION_URL"  # the only name up to 3.0.10
# A program that is written while another thread starts a process is open in that one for a moment,
# and "text file busy" for whoever starts it: one at a time.
STARTING = threading.Lock()
STARTED = "Running upgrade migrations"  # the first words of the real command


def environment(prefect, home, database_url=None, forks=None, **more):
    """What a container of the image with this Prefect would see; with `forks` its Python is one."""
    binaries = LIVE / f"prefect-{prefect}" / "bin"
    if not (binaries / "prefect").exists():
        raise FileNotFoundError(f"no Prefect {prefect} in {LIVE}: run tests/setup")
    before = f"{forks.path(binaries)}:" if forks else ""
    env = {
        "PATH": f"{before}{binaries}:/usr/bin:/bin",
        "HOME": str(home),
        "PREFECT_HOME": str(Path(home) / ".prefect"),
        "DO_NOT_TRACK": "1",
        **more,
    }
    if database_url:
        env[OLD_URL if prefect in (OLDEST, PREFECT_2) else URL] = database_url
    return env


def guarded(command=UPGRADE, on_newer_schema="continue", wait=None):
    options = [f"--on-newer-schema={on_newer_schema}"]
    options += [] if wait is None else [f"--database-timeout={wait}"]
    return ["python", "-c", SCRIPT, *options, *command]


def waiting(on_newer_schema="continue", limit=None, job="migrate"):
    options = [f"--on-newer-schema={on_newer_schema}"]
    options += [] if limit is None else [f"--wait-timeout={limit}"]
    options += [] if job is None else [f"--job={job}"]
    return ["python", "-c", WAIT, *options]


class Process:
    """A process in a session of its own, which dies as a container does: all at once."""

    def __init__(self, command, env, log):
        self.log = Path(log)
        self.started = time.monotonic()
        self.seconds = None
        # Popen looks for the program in our PATH; a container's runtime in the container's.
        program = shutil.which(command[0], path=env["PATH"]) or command[0]
        with self.log.open("wb") as output, STARTING:
            self.process = subprocess.Popen(
                command, executable=program, env=env, cwd=env["HOME"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def wait(self, seconds=240):
        code = self.process.wait(seconds)
        self.seconds = self.seconds or time.monotonic() - self.started
        self.check_output()
        return code

    def output(self):
        return self.log.read_text(errors="replace")

    def check_output(self):
        shown = self.output()
        assert CANARY not in shown and "canary" not in shown, "a password in the output"

    def running(self):
        return self.process.poll() is None

    def terminate(self):
        """What the kubelet does first: SIGTERM to the container's first process."""
        self.process.terminate()

    def members(self):
        """All processes of the container: tini puts its child into a group of its own, but
        nothing of ours leaves the session."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # After the name, which may hold anything: state, parent, group, session.
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid and fields[0] != "Z":
                    found.append(int(stat.parent.name))
        return found

    def kill(self):
        """What the kubelet does last: SIGKILL to all of the container."""
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        until(lambda: not self.members(), 10, "the container's processes are gone")
