"""Our own server, as a process, and the API server's half of the admission protocol."""

import base64
import copy
import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import jsonpatch

from migration import ROOT
from services import until

# The API server's plural names of the kinds that we send.
RESOURCES = {
    "Deployment": "deployments",
    "StatefulSet": "statefulsets",
    "Job": "jobs",
}


class Denied(Exception):
    """`/validate` refused the object; the text is what kubectl would print."""


def binary():
    """The server's program: PREFECT_GUARD_BIN, else the newest that cargo has built."""
    named = os.environ.get("PREFECT_GUARD_BIN")
    built = [
        ROOT / f"target/{profile}/prefect-guard" for profile in ("debug", "release")
    ]
    found = [path for path in ([Path(named)] if named else built) if path.is_file()]
    if not found:
        raise FileNotFoundError(
            "no prefect-guard: run `cargo build` or set PREFECT_GUARD_BIN"
        )
    return max(found, key=lambda path: path.stat().st_mtime)


class Guard:
    """`prefect-guard serve` on a free port, under a certificate of its own."""

    def __init__(self, directory):
        self.log = Path(directory) / "log"
        self.ca = Path(directory) / "ca.crt"
        self.process = None
        self.url = None
        self.tls = None

    def start(self):
        command = [
            binary(), "serve", "--tls-ephemeral", "--ca-out", self.ca,
            "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
            "--log-format", "json", "--drain", "0s",
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={}
            )
        self.url = "https://" + until(self._address, 20, f"{command[0]} listens")
        self.tls = ssl.create_default_context(cafile=self.ca)
        return self

    def _address(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server has ended: {self.log.read_text()}")
        for line in self.log.read_text().splitlines():
            entry = json.loads(line)
            if entry.get("message") == "listening" and entry["role"] == "admission":
                return entry["address"]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait(10)

    def review(self, path, obj, old):
        """POST an AdmissionReview as the API server words it; the response within."""
        kind = obj["kind"]
        group, version = obj["apiVersion"].split("/")
        gvk = {"group": group, "version": version, "kind": kind}
        gvr = {"group": group, "version": version, "resource": RESOURCES[kind]}
        request = {
            "uid": str(uuid.uuid4()),
            "kind": gvk,
            "resource": gvr,
            "requestKind": gvk,
            "requestResource": gvr,
            "name": obj["metadata"]["name"],
            "namespace": obj["metadata"]["namespace"],
            "operation": "UPDATE" if old else "CREATE",
            "userInfo": {"username": "admin", "groups": ["system:authenticated"]},
            "object": obj,
            "oldObject": old,
            "dryRun": False,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        }
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": request,
        }
        call = urllib.request.Request(
            f"{self.url}{path}?timeout=5s",
            json.dumps(review).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(call, timeout=10, context=self.tls) as answer:
                response = json.load(answer)["response"]
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            raise AssertionError(f"{path} answers {error.code}: {text}") from error
        assert response["uid"] == request["uid"]
        return response

    def admit(self, obj, old=None):
        """What the API server would store: mutated, mutated again for nothing, validated."""
        stored = self._mutate(obj, old)
        assert self._mutate(stored, old) == stored, (
            "a second mutation changes the object"
        )
        verdict = self.review("/validate", stored, old)
        if not verdict["allowed"]:
            raise Denied(verdict["status"]["message"])
        return stored

    def _mutate(self, obj, old):
        response = self.review("/mutate", obj, old)
        assert response["allowed"]
        stored = copy.deepcopy(obj)
        if "patch" in response:
            patch = json.loads(base64.b64decode(response["patch"]))
            stored = jsonpatch.apply_patch(stored, patch)
        return stored
