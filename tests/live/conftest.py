import contextlib
import itertools
import signal
import tempfile
from pathlib import Path

import pytest

import migration
import report
from forked import Forks
from guard import Guard
from podrunner import Pod
from services import Bouncer, Postgres


def pytest_configure():
    # So that a run which is ended from outside ends its servers too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def open_directory():
    """Make directories that other users can enter, PostgreSQL's among them: pytest's own it
    closes again whenever another run begins."""
    with contextlib.ExitStack() as made:

        def directory():
            path = made.enter_context(
                tempfile.TemporaryDirectory(prefix="prefect-guard-")
            )
            Path(path).chmod(0o755)
            return Path(path)

        yield directory


@pytest.fixture(scope="session")
def postgres(open_directory):
    server = Postgres(open_directory()).start()
    yield server
    server.stop()


@pytest.fixture
def database(postgres):
    return postgres.create_database()


@pytest.fixture(scope="session")
def migrated(postgres, tmp_path_factory):
    """A database that the newest Prefect has migrated; tests must leave it as it is."""
    database = postgres.create_database()
    home = tmp_path_factory.mktemp("home")
    env = migration.environment(migration.NEWEST, home, database.url())
    assert migration.Process(migration.UPGRADE, env, home / "log").wait() == 0
    return database


@pytest.fixture(scope="session")
def transaction_pooler(open_directory, postgres):
    pooler = Bouncer(open_directory(), postgres, "transaction").start()
    yield pooler
    pooler.stop()


@pytest.fixture(scope="session")
def statement_pooler(open_directory, postgres):
    pooler = Bouncer(open_directory(), postgres, "statement").start()
    yield pooler
    pooler.stop()


@pytest.fixture(scope="session")
def forks():
    """For containers whose Python is a fork; see forked.py."""
    forks = Forks()
    yield forks
    forks.end()


@pytest.fixture
def start(tmp_path):
    """Start a process as in a container of an image with some Prefect; all are killed at
    the end of the test, and none may have shown a password. With `forks` its Python is one."""
    processes = []
    numbers = itertools.count()

    def start(command, url=None, prefect=migration.NEWEST, forks=None, **env):
        log = tmp_path / f"log-{next(numbers)}"
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        env = migration.environment(prefect, home, url, forks, **env)
        processes.append(migration.Process(command, env, log))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.check_output()
    assert not [pid for process in processes for pid in process.members()]


@pytest.fixture
def note(request):
    """Say a number that was measured, for the table in docs/tested.md."""
    return lambda text: report.note(request.node, text)


@pytest.fixture(scope="session")
def guard(tmp_path_factory):
    server = Guard(tmp_path_factory.mktemp("guard")).start()
    yield server
    server.stop()
    assert "canary" not in server.log.read_text()


@pytest.fixture
def pod(tmp_path):
    """Make a pod of a workload; all its processes are killed at the end of the test."""
    pods = []

    def pod(workload, cluster, forks=None):
        pods.append(Pod(workload, cluster, tmp_path / f"pod-{len(pods)}", forks))
        return pods[-1]

    yield pod
    for each in pods:
        each.stop()
    left = [c for each in pods for c in each.containers if c.process.members()]
    assert not left, "processes are left behind"
