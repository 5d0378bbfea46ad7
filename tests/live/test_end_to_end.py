"""A manifest goes through our HTTPS server, and the pod it becomes runs as processes."""

import concurrent.futures
import copy
import time

import pytest

from guard import Denied
from migration import MIDWAY, NEWEST, RECENT, STARTED, URL
from podrunner import Cluster, InitFailed, call
from services import HOST, free_port, until

TABLES = {"deployment", "flow_run", "automation_bucket"}
MISSING = "does not exist"
OURS = "prefect-guard-migrate"
MIGRATE_ON_START = "PREFECT_SERVER_DATABASE_MIGRATE_ON_START"
NEWER = "prefect-guard.io/on-newer-schema"
SERIALIZE = "prefect-guard.io/serialize"
FLOW = """
from prefect import flow

@flow
def answer():
    return 42

assert answer() == 42
"""


def image(prefect):
    return f"prefecthq/prefect:{prefect}-python3.11"


def workload(call, prefect=NEWEST, env=None, annotations=None, **container):
    """A Deployment as the official chart words it: tini and the entrypoint as the command,
    HOME on an emptyDir, the URL from a Secret."""
    variables = {"HOME": "/home/prefect", MIGRATE_ON_START: "false", **(env or {})}
    reference = {"secretKeyRef": {"name": "database", "key": "url"}}
    template = {
        "metadata": {"labels": {"app": "prefect"}, "annotations": annotations or {}},
        "spec": {
            "containers": [
                {
                    "name": "prefect-server",
                    "image": image(prefect),
                    "imagePullPolicy": "IfNotPresent",
                    "command": [
                        "/usr/bin/tini",
                        "-g",
                        "--",
                        "/opt/prefect/entrypoint.sh",
                    ],
                    "args": list(call),
                    "workingDir": "/home/prefect",
                    "env": [
                        *({"name": n, "value": v} for n, v in variables.items()),
                        {"name": URL, "valueFrom": reference},
                    ],
                    "volumeMounts": [{"mountPath": "/home/prefect", "name": "scratch"}],
                    **container,
                }
            ],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "prefect-server", "namespace": "data"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "prefect"}},
            "template": template,
        },
    }


def api(port, *options, **more):
    start = (
        "prefect",
        "server",
        "start",
        "--host",
        HOST,
        "--port",
        str(port),
        *options,
    )
    return workload(start, **more)


def background(**more):
    return workload(("prefect", "server", "services", "start"), **more)


def secret(url):
    return Cluster({"database": {"url": url}})


def containers(stored):
    return stored["spec"]["template"]["spec"]["containers"]


def inits(stored):
    return stored["spec"]["template"]["spec"].get("initContainers", [])


def serves(container, port, seconds=60):
    """Wait until the API is healthy; its container must go on running."""

    def healthy():
        assert container.process.running(), container.log()[-2000:]
        try:
            return call(port, "/health")[0] == 200
        except OSError:
            return False

    until(healthy, seconds, "the API is healthy")
    assert call(port, "/flows/filter", {}) == (200, [])


def at_once(pods):
    """Initialise pods at the same moment; whether each came through, and the seconds."""

    def one(pod):
        try:
            pod.initialise()
        except InitFailed:
            return False
        return True

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(pods)) as pool:
        results = list(pool.map(one, pods))
    return results, time.monotonic() - begun


def test_symptom_of_an_api(database, pod):
    """Without us, an API that does not migrate on start stops: a relation does not exist."""
    server = pod(api(free_port()), secret(database.url())).start()
    assert server.wait(60) != 0
    assert "relation " in server.log() and MISSING in server.log()
    assert not TABLES & database.tables()


def test_symptom_of_background_services(database, pod):
    """Without us, background services run on for ever: a relation does not exist."""
    server = pod(background(), secret(database.url())).start()
    until(lambda: MISSING in server.log(), 60, "the symptom shows")
    assert server.process.running()


def test_cure_of_an_api(guard, database, pod, start, note):
    """With us, the same API: tables first, then a healthy server; a real flow run ends well."""
    port = free_port()
    stored = guard.admit(api(port))
    assert [c["name"] for c in inits(stored)] == [OURS]
    assert inits(stored)[0]["image"] == containers(stored)[0]["image"]
    running = pod(stored, secret(database.url()))
    begun = time.monotonic()
    running.initialise()
    note(f"migrated in {time.monotonic() - begun:.1f} s")
    assert TABLES <= database.tables()
    assert len(running.containers) == 1, "the server has started too early"
    server = running.start()
    serves(server, port)
    status, flow = call(port, "/flows/", {"name": "made-by-hand"})
    assert status == 201
    state = {"type": "SCHEDULED"}
    body = {"flow_id": flow["id"], "state": state}
    assert call(port, "/flow_runs/", body)[0] == 201
    flow = start(("python", "-c", FLOW), PREFECT_API_URL=f"http://{HOST}:{port}/api")
    assert flow.wait(60) == 0, flow.output()
    states = {r["state_type"] for r in call(port, "/flow_runs/filter", {})[1]}
    assert states == {"SCHEDULED", "COMPLETED"}
    assert MISSING not in server.log()


def test_cure_of_background_services(guard, database, pod):
    """With us, the same background services find their tables."""
    server = pod(guard.admit(background()), secret(database.url())).start()
    assert database.tables() >= TABLES
    time.sleep(10)  # without us the symptom showed within this time
    assert server.process.running() and MISSING not in server.log()


def test_set_image(guard, database, pod):
    """`kubectl set image` from release to release: the schema follows before the server starts."""
    port = free_port()
    stored = guard.admit(api(port, prefect=MIDWAY))
    pod(stored, secret(database.url())).initialise()
    for release in (RECENT, NEWEST):
        older = database.rows("SELECT version_num FROM alembic_version")
        changed = copy.deepcopy(stored)
        containers(changed)[0]["image"] = image(release)
        changed = guard.admit(changed, old=stored)
        assert [c["image"] for c in inits(changed)] == [image(release)]
        running = pod(changed, secret(database.url()))
        running.initialise()
        assert database.rows("SELECT version_num FROM alembic_version") != older
        stored = changed
    serves(running.start(), port)


@pytest.mark.parametrize("count", [4, 8])
def test_many_pods(guard, postgres, pod, forks, note, count):
    """Pods at once on an empty database, five rounds: every initContainer exits 0."""
    stored = guard.admit(api(4200))
    slowest, commands = 0, 0
    for number in range(5):
        cluster = secret(postgres.create_database().url())
        # From the second round on as forks, which are at the database nearer together.
        pods = [pod(stored, cluster, forks if number else None) for _ in range(count)]
        results, seconds = at_once(pods)
        assert all(results), [c.log() for p in pods for c in p.containers if c.code]
        slowest = max(slowest, seconds)
        commands += sum(STARTED in p.containers[0].log() for p in pods)
    assert commands == 5, (
        "a waiter has started the command although there was nothing to do"
    )
    note(f"{5 * count} of {5 * count} exit 0; slowest round {slowest:.1f} s")


@pytest.mark.parametrize(("count", "rounds"), [(4, 2), (8, 1)])
def test_many_pods_unlocked(guard, postgres, pod, note, count, rounds):
    """The same without the lock, fewer rounds, for comparison: most fail."""
    stored = guard.admit(api(4200, annotations={SERIALIZE: "never"}))
    assert "-c" not in [*inits(stored)[0]["command"], *inits(stored)[0]["args"]]
    failed = 0
    for _ in range(rounds):
        cluster = secret(postgres.create_database().url())
        results, _ = at_once([pod(stored, cluster) for _ in range(count)])
        failed += results.count(False)
    note(f"{failed} of {rounds * count} fail")
    assert failed, "the race has gone: is the lock still wanted?"


def unable(database):
    """A user who may connect, but not make a table."""
    name = f"unable_{database.name}"
    database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'canary'")
    return database.url(user=name, password="canary")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        pytest.param(lambda d: d.url(password="wrong-canary"),
                     "the database refuses the password of this user",
                     id="a bad password"),
        pytest.param(lambda d: d.url(name="absent"),
                     "this server has no database of the URL's name",
                     id="a missing database"),
        pytest.param(unable, "may not CREATE in schema public; as its owner, run",
                     id="no CREATE privilege"),
    ],
)  # fmt: skip
def test_reason(guard, database, pod, url, reason):
    """The initContainer fails, the server never starts, `describe pod` shows the reason."""
    failing = pod(guard.admit(api(4200)), secret(url(database)))
    with pytest.raises(InitFailed) as failure:
        failing.start()
    assert reason in failure.value.container.message()
    assert "canary" not in failure.value.container.message()
    assert [c.name for c in failing.containers] == [OURS]


def test_nothing_set(guard, pod):
    """A Secret without the variable: the server would start with SQLite, and so it does."""
    manifest = api(4200)
    server = containers(manifest)[0]
    server["env"] = [e for e in server["env"] if e["name"] != URL]
    server["envFrom"] = [{"secretRef": {"name": "database"}}]
    stored = guard.admit(manifest)
    running = pod(stored, Cluster({"database": {"OTHER": "setting"}}))
    running.initialise()
    assert "no PostgreSQL URL reaches Prefect" in running.containers[0].log()


@pytest.mark.parametrize("older", [MIDWAY, RECENT])
def test_rollback_continues(guard, migrated, pod, older):
    """Rollback to an older Prefect under `continue`: it says so, and the server serves."""
    port = free_port()
    running = pod(guard.admit(api(port, prefect=older)), secret(migrated.url()))
    server = running.start()
    assert f"newer than Prefect {older}" in running.containers[0].log()
    serves(server, port)


def test_rollback_fails(guard, migrated, pod):
    """Rollback to an older Prefect under `fail`: the initContainer fails and says why."""
    strict = api(4200, prefect=MIDWAY, annotations={NEWER: "fail"})
    with pytest.raises(InitFailed) as failure:
        pod(guard.admit(strict), secret(migrated.url())).start()
    assert "Can't locate revision identified by" in failure.value.container.message()


def test_stale_container(guard, migrated, pod):
    """An older initContainer that was left behind does not hold up a newer server."""
    port = free_port()
    stale = guard.admit(api(port, prefect=MIDWAY))
    containers(stale)[0]["image"] = image(NEWEST)  # changed while we were gone
    serves(pod(stale, secret(migrated.url())).start(), port)


START = ["server", "start"]
UPGRADE = ["server", "database", "upgrade", "-y"]
SHELL = "export A=b; prefect server start"
CALLS = {
    "args alone": (None, ["prefect", *START], True),
    "command alone": (["prefect", *START], None, True),
    "a venv": (["/app/.venv/bin/prefect", *START], None, True),
    "uv run": (["uv", "run", "prefect"], START, True),
    "python -m": (["python", "-m", "prefect"], START, True),
    "a profile": (None, ["prefect", "--profile", "ephemeral", *START], True),
    "env": (None, ["env", "A=b", "prefect", *START], True),
    "a shell script": (["sh", "-c"], [SHELL], True),
    "another image": (["prefect"], START, False),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls(guard, migrated, pod, name):
    """However the server calls `prefect`, the initContainer calls it too."""
    command, args, locked = CALLS[name]
    manifest = api(4200)
    server = containers(manifest)[0]
    for key, words in (("command", command), ("args", args)):
        server.pop(key)
        if words:
            server[key] = words
    if not locked:
        server["image"] = f"registry.example/team/flows:{NEWEST}"
    stored = guard.admit(manifest)
    init = inits(stored)[0]
    words = [*init.get("command", []), *init.get("args", [])]
    assert words[-4:] == UPGRADE and "prefect" in words[-5] or words[-6] == "--profile"
    running = pod(stored, secret(migrated.url()))
    running.initialise()
    said = f"as Prefect {NEWEST} needs it" if locked else "upgraded!"
    assert said in running.containers[0].log()


def test_composed_url(guard, migrated, pod):
    """A URL composed of `$(VAR)` and an escaped `$$` reaches the migration as the server."""
    manifest = api(4200)
    server = containers(manifest)[0]
    scheme, rest = migrated.url().split("://")
    user, rest = rest.split(":", 1)
    password, place = rest.split("@")
    server["envFrom"] = [{"prefix": "DB_", "configMapRef": {"name": "place"}}]
    server["env"] = [
        {"name": "DB_PASSWORD",
         "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
        {"name": "PREFECT_LOGGING_EXTRA_LOGGERS", "value": "costs $$(DB_USER)"},
        {"name": URL, "value": f"{scheme}://$(DB_USER):$(DB_PASSWORD)@$(DB_PLACE)"},
        {"name": MIGRATE_ON_START, "value": "false"},
    ]  # fmt: skip
    del server["workingDir"], server["volumeMounts"]
    cluster = Cluster(
        {"database": {"password": password}}, {"place": {"PLACE": place, "USER": user}}
    )
    running = pod(guard.admit(manifest), cluster)
    running.initialise()
    assert f"as Prefect {NEWEST} needs it" in running.containers[0].log()


def test_own_container_is_adopted(guard, database, pod):
    """A migration initContainer of the user's own is pinned to the server's image and runs."""
    manifest = api(4200)
    own = copy.deepcopy(containers(manifest)[0])
    own |= {"name": "upgrade", "image": image(MIDWAY), "args": ["prefect", *UPGRADE]}
    manifest["spec"]["template"]["spec"]["initContainers"] = [own]
    stored = guard.admit(manifest)
    assert [(c["name"], c["image"]) for c in inits(stored)] == [
        ("upgrade", image(NEWEST))
    ]
    pod(stored, secret(database.url())).initialise()
    assert database.tables() >= TABLES


def test_denied(guard):
    """A sync driver never becomes a pod."""
    manifest = api(4200)
    env = containers(manifest)[0]["env"]
    env[-1] = {"name": URL, "value": "postgresql://u:hunter2-canary@db/prefect"}
    with pytest.raises(Denied, match="sync-driver") as denied:
        guard.admit(manifest)
    assert "canary" not in str(denied.value)
