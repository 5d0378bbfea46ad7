"""The guard as the README installs it, a PostgreSQL, and a namespace for each test."""

import pytest

import cluster
import results

FAILED = cluster.ROOT / "target/e2e/failed"


def pytest_addoption(parser):
    parser.addoption("--write", action="store_true", help="note the outcome in docs/tested.md")


@pytest.fixture(scope="session")
def postgres():
    names = cluster.kubectl("get", "namespaces", "-oname").ok().split()
    left = [n for n in names if n.startswith("namespace/e2e-")]
    if left:
        cluster.kubectl("delete", *left).ok()
    postgres = cluster.Postgres()
    postgres.start()
    yield postgres
    cluster.kubectl("delete", "namespace", postgres.namespace, "--wait=false")


@pytest.fixture(scope="session")
def guard():
    cluster.uninstall()
    cluster.install().ok()
    yield
    cluster.uninstall()


@pytest.fixture
def space(postgres, request):
    yield from one(postgres, request)


@pytest.fixture(scope="module")
def shared(postgres, request):
    """A namespace for all tests of a file."""
    yield from one(postgres, request)


@pytest.fixture
def unwatched(postgres, request):
    yield from one(postgres, request, "prefect-guard.io/enabled=false")


def one(postgres, request, *labels):
    space = cluster.Space(postgres, labels)
    yield space
    # None: what prepares the test has failed.
    if getattr(request.node, "failed", None) is not False:
        folder = FAILED / request.node.name.replace("/", "_")
        space.keep(folder)
        log = cluster.kubectl("logs", "-n", cluster.RELEASE, "-l", cluster.LABEL, "--prefix", "--tail=-1")
        (folder / "guard.log").write_text(log.out + log.err)
    space.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.failed = report.failed
    if call.when == "call" or report.failed:
        item.parent.failed = getattr(item.parent, "failed", False) or report.failed
    report.title = results.title(item)
    return report


class Writer:
    """Writes after each test, so that a run which is cut off leaves what it has shown."""

    def pytest_runtest_logfinish(self):
        results.write()


def pytest_configure(config):
    if config.option.write:
        config.pluginmanager.register(Writer())


def pytest_runtest_logreport(report):
    results.take(report)
