"""Manifests of servers as people write them, made of all pairs of a few choices.

The same ones each time: what fails can be looked at again by its number.
"""

import collections
import itertools

import yaml

from migration import MIDWAY, NEWEST, OLD_URL, OLDEST, PREFECT_2, RECENT, URL

CLAIM = "/data/prefect.db"
SERVER, OURS = ["prefect", "server", "start"], "prefect-server"
FACTORY = ["uvicorn", "--host", "0.0.0.0", "--factory", "prefect.server.api.server:create_app"]  # fmt: skip
ENTRYPOINT = ["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh"]
AXES = {
    "release": (NEWEST, RECENT, MIDWAY, OLDEST, PREFECT_2),
    "source": (
        "a value", "a key of a Secret", "a Secret", "a Secret with a prefix", "a ConfigMap", "its parts",
        "references", "an export", "a file",
    ),
    "call": ("arguments", "prefect", "a shell", "uvicorn", "tini", "uv", "a wrapper"),
    "driver": ("postgresql+asyncpg", "sqlite+aiosqlite", "postgresql", None),
    "name": (URL, OLD_URL),
    "policy": ("enforce", "exempt", "warn"),
}  # fmt: skip
POLICY = "apiVersion: prefect-guard.io/v1alpha1\nkind: Policy\nmode: warn\n"
EXEMPT = {
    "prefect-guard.io/allow": "missing-database-url,ephemeral-sqlite",
    "prefect-guard.io/allow-reason": "a demo",
}


def choices():
    """Few combinations of the axes in which each pair of values of two axes occurs."""
    pairs = itertools.combinations(AXES, 2)
    missing = {
        ((a, one), (b, other)): None
        for a, b in pairs for one in AXES[a] for other in AXES[b]
    }  # fmt: skip
    used = collections.Counter()
    while missing:
        chosen = dict(next(iter(missing)))

        def worth(axis, value, chosen=chosen):
            new = missing.keys() & set(met({**chosen, axis: value}))
            return len(new), -used[axis, value]

        for axis, values in AXES.items():
            if axis not in chosen:
                worths = [worth(axis, value) for value in values]
                chosen[axis] = values[worths.index(max(worths))]
        for pair in met(chosen):
            missing.pop(pair, None)
        used.update(chosen.items())
        yield {axis: chosen[axis] for axis in AXES}


def met(chosen):
    """The pairs of values in a combination, in the order of the axes."""
    return itertools.combinations([(a, chosen[a]) for a in AXES if a in chosen], 2)


def secret(name, key="url"):
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "database", "key": key}}}  # fmt: skip


def value(name, text):
    return {"name": name, "value": text}


def url(driver, password="hunter2-canary"):
    if driver.startswith("sqlite"):
        return f"{driver}:///{CLAIM}"
    return f"{driver}://prefect:{password}@postgres.data.svc:5432/prefect"


def parts(start, driver):
    if driver.startswith("sqlite"):
        return [value(start + "DRIVER", driver), value(start + "NAME", CLAIM)]
    texts = {"DRIVER": driver, "HOST": "postgres.data.svc", "PORT": "5432", "USER": "prefect", "NAME": "prefect"}  # fmt: skip
    return [*(value(start + n, text) for n, text in texts.items()), secret(start + "PASSWORD", "password")]  # fmt: skip


def where(chosen):
    """Where the URL comes from: `env`, `envFrom`, and what a shell does first."""
    source, driver, name = chosen["source"], chosen["driver"], chosen["name"]
    start = name.removesuffix("CONNECTION_URL")
    if driver is None:
        return [value("PREFECT_SERVER_API_HOST", "0.0.0.0")], [], ""
    env, more, first = [], [], ""
    if source == "a value":
        env = [value(name, url(driver))]
    elif source == "a key of a Secret":
        env = [secret(name)]
    elif source == "a Secret":
        more = [{"secretRef": {"name": "database"}}]
    elif source == "a Secret with a prefix":
        more = [{"prefix": start, "secretRef": {"name": "database"}}]
    elif source == "a ConfigMap":
        more = [{"configMapRef": {"name": "database"}}]
    elif source == "its parts":
        env = parts(start, driver)
    elif source == "references":
        env = [secret("DB_PASSWORD", "password"), value(name, url(driver, "$(DB_PASSWORD)"))]  # fmt: skip
    elif source == "an export":
        env = [secret("DB_PASSWORD", "password")]
        first = f'export {name}="{url(driver, "${DB_PASSWORD}")}"\n'
    else:
        first = f"export {name}=$(cat /run/secrets/url)\n"
    return env, more, first


def call(kind, first):
    """How the container calls the server; a script does first what its URL needs."""
    words = FACTORY if kind == "uvicorn" else SERVER
    if kind == "uv":
        words = ["uv", "run", *SERVER]
    if kind == "a wrapper":
        words = ["doppler", "run", "--", *SERVER]
    if first or kind == "a shell":
        words = ["sh", "-c", f"{first}exec {' '.join(words)}\n"]
    if kind == "arguments":
        return {"args": words}
    return {"command": ENTRYPOINT, "args": words} if kind == "tini" else {"command": words}  # fmt: skip


def manifest(chosen):
    env, more, first = where(chosen)
    container = {
        "name": "server", "image": f"prefecthq/prefect:{chosen['release']}-python3.11",
        **call(chosen["call"], first), "env": env, "envFrom": more,
    }  # fmt: skip
    spec = {"containers": [container]}
    if chosen["policy"] == "enforce":  # a file that stays is what nobody has to exempt
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]  # fmt: skip
    metadata = {"labels": {"app": OURS}}
    if chosen["policy"] == "exempt":
        metadata["annotations"] = EXEMPT
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": OURS, "namespace": "data"},
        "spec": {
            "replicas": 1, "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": OURS}},
            "template": {"metadata": metadata, "spec": spec},
        },
    }  # fmt: skip


def written(directory, release):
    """The manifests of a release as files, each with the file of its policy, if it has one."""
    policy = directory / "warn.yaml"
    policy.write_text(POLICY)
    for number, chosen in enumerate(choices(), 1):
        if chosen["release"] == release:
            path = directory / f"generated-{number:02}.yaml"
            said = "".join(f"# {axis}: {value}\n" for axis, value in chosen.items())
            path.write_text(said + yaml.safe_dump(manifest(chosen), sort_keys=False))
            yield path, policy if chosen["policy"] == "warn" else None
