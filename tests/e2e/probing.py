"""Asks the webhooks again and again, beside whatever else goes on, and keeps each wrong answer."""

import http.client
import json
import subprocess
import threading
import time
from contextlib import contextmanager

import cluster

JSON = "application/json"


@contextmanager
def proxy():
    """The port on which `kubectl proxy` takes requests to the API server: they cost less than a kubectl each."""
    child = subprocess.Popen(["kubectl", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        yield int(child.stdout.readline().rsplit(":", 1)[1])
    finally:
        child.terminate()
        child.wait(timeout=30)


class Probe(threading.Thread):
    """Creates a good server and a bad one by dry run, in turn, until it is stopped.

    The good one must come back with its migration; the bad one, of a synchronous driver, must be refused for that.
    """

    def __init__(self, port, space, pause=0.05):
        super().__init__(daemon=True)
        self.port, self.pause, self.over = port, pause, threading.Event()
        self.path = f"/apis/apps/v1/namespaces/{space.name}/deployments?dryRun=All"
        self.asked, self.wrong, self.slowest = 0, [], 0.0
        self.good, self.bad = cluster.server("good"), cluster.server("bad", url="postgresql://a@b/c")

    def run(self):
        while not self.over.wait(self.pause):
            self.look("good", self.good, self.admitted)
            self.look("bad", self.bad, self.refused)

    def look(self, which, wanted, right):
        begun = time.time()
        try:
            status, text = self.ask(wanted)
        except (OSError, http.client.HTTPException) as error:
            status, text = 0, repr(error)
        took = time.time() - begun
        self.asked, self.slowest = self.asked + 1, max(self.slowest, took)
        if not right(status, text):
            at = time.strftime("%H:%M:%S", time.gmtime(begun))
            self.wrong.append(f"{at}, {took:.2f} s: the {which} server: {status} {message(text)}")

    def ask(self, wanted):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", self.path, json.dumps(wanted), {"Content-Type": JSON})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @staticmethod
    def admitted(status, text):
        return status == 201 and f'"{cluster.MIGRATION}"' in text

    @staticmethod
    def refused(status, text):
        return status == 403 and "PSG103" in text

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        """Whoever asks must have asked to the end: one that died or hangs has found nothing wrong since."""
        died, asked = not self.is_alive(), self.asked
        if kind is None and not died:
            cluster.until("the probe to go on asking", lambda: self.asked > asked, within=120)
        self.over.set()
        self.join(timeout=120)
        if kind is None:
            assert not died, f"the probe died after {asked} answers"
            assert not self.is_alive(), f"the probe hangs after {self.asked} answers"


def watching(space):
    """Both webhooks answer: the initContainer is put in, and a sync driver is refused."""
    good, bad, dry = cluster.server("probe"), cluster.server("probe", url="postgresql://a@b/c"), "--dry-run=server"

    def probe():
        admitted = space.apply(good, flags=(dry, "-oyaml"))
        refused = space.apply(bad, flags=(dry,))
        # In mode `warn` the same words are a warning.
        return cluster.MIGRATION in admitted.out and refused.code and "PSG103" in refused.err

    cluster.until("both webhooks to answer", probe)


def message(text):
    """The API server's sentence, or that an object came back."""
    try:
        answer = json.loads(text)
    except ValueError:
        return text[:500]
    if "message" in answer:
        return answer["message"]
    return f"{answer.get('kind')}, {'with' if cluster.MIGRATION in text else 'without'} a migration"
