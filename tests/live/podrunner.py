"""Runs a pod as processes, as the kubelet and a container runtime would.

An image is a venv of the Prefect that its tag names, with tini and the entrypoint of
Prefect's own image; there is no isolation. Everything that this does not know how to do
raises `Unsupported`, so that no test passes because something was left out.
"""

import json
import re
import urllib.request
from pathlib import Path

from migration import STARTING, Process, environment

# The kubelet's limits for what `kubectl describe pod` shows of a log.
MESSAGE_BYTES, MESSAGE_LINES = 2048, 80
# github.com/PrefectHQ/prefect, Dockerfile: how an image starts that is given args alone.
ENTRYPOINT = ["/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh"]
# What stands in for files of the image. tini must be told that it is not the first process.
FILES = {
    "tini": 'exec /usr/bin/tini -s "$@"',
    "entrypoint.sh": 'exec "$@"',
    "uv": '[ "$1" = run ] || exit 64\nshift\nexec "$@"',
}
VENV_DIRECTORIES = ("/app/.venv/bin/", "/opt/venv/bin/")
REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")


class Unsupported(Exception):
    """The pod asks for something which this runner does not do."""


class CannotStart(Exception):
    """The kubelet would refuse to create the container (CreateContainerConfigError)."""


class InitFailed(Exception):
    """An initContainer has failed, so the servers are not started; shows its message."""

    def __init__(self, container):
        super().__init__(
            f"{container.name}: exit {container.code}: {container.message()}"
        )
        self.container = container


def write_program(path, text):
    """A program of a few lines of shell."""
    path.parent.mkdir(exist_ok=True)
    with STARTING:
        path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def expand(text, variables):
    """`$(VAR)` and `$$` as Kubernetes does: what is not defined stays as it stands."""

    def replace(match):
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return REFERENCE.sub(replace, text)


class Cluster:
    """The Secrets and ConfigMaps that a pod may refer to, as plain text."""

    def __init__(self, secrets=None, config_maps=None):
        self.objects = {"secret": secrets or {}, "configMap": config_maps or {}}

    def _data(self, kind, reference):
        data = self.objects[kind].get(reference["name"])
        if data is None and not reference.get("optional"):
            raise CannotStart(f"{kind} {reference['name']} not found")
        return data or {}

    def environment(self, container):
        variables = {}
        for source in container.get("envFrom", []):
            kind = next(kind for kind in self.objects if f"{kind}Ref" in source)
            for key, value in self._data(kind, source[f"{kind}Ref"]).items():
                variables[source.get("prefix", "") + key] = value
        for entry in container.get("env", []):
            value = self._value(entry, variables)
            if value is not None:
                variables[entry["name"]] = value
        return variables

    def _value(self, entry, variables):
        source = entry.get("valueFrom")
        if source is None:
            return expand(entry.get("value", ""), variables)
        for kind in self.objects:
            reference = source.get(f"{kind}KeyRef")
            if reference:
                value = self._data(kind, reference).get(reference["key"])
                if value is None and not reference.get("optional"):
                    raise CannotStart(
                        f"no key {reference['key']} in {reference['name']}"
                    )
                return value
        raise Unsupported(f"valueFrom {sorted(source)}")


class Container:
    """One container of a pod, running or ended."""

    def __init__(self, spec, process):
        self.name = spec["name"]
        self.policy = spec.get("terminationMessagePolicy", "File")
        self.process = process
        self.code = None

    def wait(self, seconds):
        self.code = self.process.wait(seconds)
        return self.code

    def log(self):
        return self.process.output()

    def message(self):
        """What `kubectl describe pod` shows as the reason of a container's end."""
        if self.code == 0 or self.policy != "FallbackToLogsOnError":
            return ""
        tail = self.process.log.read_bytes()[-MESSAGE_BYTES:].decode(errors="replace")
        return "\n".join(tail.splitlines()[-MESSAGE_LINES:])


class Pod:
    """A pod of a workload's template, on the way from its first initContainer on."""

    def __init__(self, workload, cluster, directory, forks=None):
        self.template = workload["spec"]["template"]["spec"]
        self.forks = forks
        self.cluster = cluster
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        self.containers = []
        self.images = self.directory / "image"
        for name, text in FILES.items():
            write_program(self.images / name, text)

    def initialise(self, seconds=300):
        """Run the initContainers to their ends, one after the other."""
        for spec in self.template.get("initContainers", []):
            self.start_init(spec)
            if self.containers[-1].wait(seconds) != 0:
                raise InitFailed(self.containers[-1])

    def start_init(self, spec):
        if "restartPolicy" in spec:
            raise Unsupported(f"{spec['name']}: a native sidecar")
        self._start(spec)

    def start(self, seconds=300):
        """Run the initContainers and then start the servers."""
        self.initialise(seconds)
        for spec in self.template["containers"]:
            self._start(spec)
        return self.containers[-1]

    def stop(self):
        for container in self.containers:
            container.process.kill()

    def _start(self, spec):
        volumes = self._volumes(spec)
        variables = self.cluster.environment(spec)
        command = self._command(spec, variables)
        for name, value in variables.items():
            variables[name] = next(
                (path + value[len(at) :] for at, path in volumes.items()
                 if value == at or value.startswith(at + "/")),
                value,
            )  # fmt: skip
        if spec.get("workingDir", "/opt/prefect") not in ("/opt/prefect", *volumes):
            raise Unsupported(f"workingDir {spec['workingDir']}")
        home = self.directory / f"home-{spec['name']}"
        home.mkdir(exist_ok=True)
        base = environment(self._prefect(spec["image"]), home, forks=self.forks)
        env = {**base, **variables}
        env["PATH"] = f"{self.images}:{base['PATH']}"
        log = self.directory / f"{spec['name']}.log"
        self.containers.append(Container(spec, Process(command, env, log)))

    def _volumes(self, spec):
        """Host directories for the mount paths; only an emptyDir is known."""
        kinds = {volume["name"]: volume for volume in self.template.get("volumes", [])}
        directories = {}
        for mount in spec.get("volumeMounts", []):
            if "emptyDir" not in kinds[mount["name"]]:
                raise Unsupported(f"volume {mount['name']}")
            below = mount.get("subPathExpr", mount.get("subPath", ""))
            directory = self.directory / "volumes" / mount["name"] / below
            directory.mkdir(parents=True, exist_ok=True)
            directories[mount["mountPath"]] = str(directory)
        return directories

    def _command(self, spec, variables):
        command = spec.get("command") or ENTRYPOINT
        return [
            self._program(expand(word, variables))
            for word in [*command, *spec.get("args", [])]
        ]

    def _program(self, word):
        for directory in VENV_DIRECTORIES:
            if word.startswith(directory):
                return word.removeprefix(directory)
        standing_in = {
            "/usr/bin/tini": "tini",
            "/opt/prefect/entrypoint.sh": "entrypoint.sh",
        }
        return str(self.images / standing_in[word]) if word in standing_in else word

    @staticmethod
    def _prefect(image):
        tag = re.search(r":(\d+\.\d+\.\d+)(-python[\d.]+)?$", image)
        if not tag:
            raise Unsupported(f"image {image}")
        return tag[1]


def call(port, path, body=None, seconds=20):
    """A call of Prefect's API: the status and the decoded answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return answer.status, json.loads(answer.read() or b"null")
