"""What the guard costs a cluster that has many servers: writes the section of docs/performance.md.

`E2E_SERVERS=1500 target/live/tools/bin/python tests/e2e/scale.py`, with the environment of tests/e2e/run. The
Deployments have no replicas: what is measured is the API server's way through the guard, not Prefect.
"""

import http.client
import json
import os
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import cluster
from probing import proxy

COUNT = int(os.environ.get("E2E_SERVERS", "1500"))
PAGE = cluster.ROOT / "docs/performance.md"
START, END = "<!-- scale: tests/e2e/scale.py -->", "<!-- end of scale -->"
WATCHED, UNWATCHED = "e2e-watched", "e2e-unwatched"
NGINX = {"name": "nginx", "image": "nginx:1", "env": [{"name": f"V{n}", "value": "x" * 40} for n in range(20)]}


def call(connection, method, namespace, body, name=""):
    """Milliseconds that the API server took."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments{name}"
    kind = "application/json" if method == "POST" else "application/merge-patch+json"
    begun = time.perf_counter()
    connection.request(method, path, json.dumps(body), {"Content-Type": kind})
    answer = connection.getresponse()
    text = answer.read()
    took = (time.perf_counter() - begun) * 1000
    assert answer.status < 300, text[:500]
    return took


def create(port, count, make, dry=""):
    """The same object in both namespaces in turn, so that the machine's moods meet both."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    took = {WATCHED: [], UNWATCHED: []}
    for number in range(count):
        for namespace, times in took.items():
            times.append(call(connection, "POST", namespace, make(f"s{number}"), dry))
    return took


def restart(port, namespace, number):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    template = {"metadata": {"annotations": {"restarted": f"{time.time()}"}}}
    return call(connection, "PATCH", namespace, {"spec": {"template": template}}, f"/s{number}")


def memory():
    """The most that a replica holds, in MiB."""
    pods = cluster.get("pods", "-n", cluster.RELEASE, "-l", cluster.LABEL)["items"]
    sizes = []
    for pod in pods:
        name = pod["metadata"]["name"]
        raw = f"/api/v1/namespaces/{cluster.RELEASE}/pods/{name}:8080/proxy/metrics"
        text = cluster.kubectl("get", "--raw", raw).ok()
        sizes += [float(v) / 2**20 for v in re.findall(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)]
    return max(sizes)


def program(*arguments):
    begun = time.monotonic()
    said = cluster.run(cluster.PROGRAM, *arguments, within=600)
    assert said.code in (0, 1), said.err
    return time.monotonic() - begun


def quantiles(took):
    by_hundred = statistics.quantiles(took, n=100)
    last = by_hundred[98] if len(took) >= 100 else max(took)
    return f"{by_hundred[49]:.1f} ms | {last:.1f} ms"


def measure():
    before = memory()
    with proxy() as port:
        nginx = create(port, 300, lambda name: cluster.workload(name, NGINX, 0), "?dryRun=All")
        servers = create(port, COUNT, lambda name: cluster.server(name, replicas=0))
        after = memory()
        with ThreadPoolExecutor(10) as pool:
            at_once = {
                space: list(pool.map(lambda n, s=space: restart(port, s, n), range(10)))
                for space in (UNWATCHED, WATCHED)
            }
    kept = cluster.get("deployments", "-n", WATCHED)["items"]
    assert len(kept) == COUNT
    assert all(cluster.images(d) for d in kept)
    seconds = {"audit": program("audit", "--namespace", WATCHED)}
    if cluster.run(cluster.PROGRAM, "status", "--help").code == 0:
        seconds["status"] = program("status")
    rows = [
        f"| {what}, {where} | {quantiles(took[space])} |"
        for what, took in (
            ("a Prefect server is created", servers),
            ("an nginx is created (dry run)", nginx),
            ("ten servers restarted at once", at_once),
        )
        for where, space in (("namespace left out", UNWATCHED), ("namespace watched", WATCHED))
    ]
    version = json.loads(cluster.kubectl("version", "-ojson").ok())["serverVersion"]["gitVersion"]
    return "\n".join([
        START, "", "## In a cluster with many servers", "",
        f"Written by `tests/e2e/scale.py` on Kubernetes {version}, {os.cpu_count()} cores shared with everything else,",
        f"{os.environ.get('E2E_BUILD', 'a release build of the guard')}:",
        f"{COUNT} Deployments of servers without replicas in each of two namespaces, one watched by the guard and one left",
        "out by its label, written in turn. The difference of two lines is what the guard, or for nginx its filter, adds.",
        "Of ten requests, p99 is the slowest.", "",
        "| one request to the API server | median | p99 |", "|---|---:|---:|", *rows, "",
        "| what | measured |", "|---|---:|",
        f"| memory of a replica before | {before:.1f} MiB |",
        f"| memory of a replica after {COUNT} servers | {after:.1f} MiB |",
        *(f"| `{name}` of {COUNT} servers | {took:.1f} s |" for name, took in seconds.items()), "", END,
    ])  # fmt: skip


def main():
    cluster.uninstall()
    cluster.install().ok()
    spaces = ("namespace", WATCHED, UNWATCHED)
    cluster.kubectl("delete", "--ignore-not-found", *spaces).ok()
    for name in spaces[1:]:
        cluster.kubectl("create", "namespace", name).ok()
    cluster.kubectl("label", "namespace", UNWATCHED, "prefect-guard.io/enabled=false").ok()
    time.sleep(5)  # the API server's own view of namespaces and webhooks
    try:
        section = measure()
    finally:
        cluster.kubectl("delete", "--wait=false", *spaces)
        cluster.uninstall()
    rest = re.sub(f"{re.escape(START)}.*{re.escape(END)}\n\n", "", PAGE.read_text(), flags=re.DOTALL)
    PAGE.write_text(rest.replace("## How it is measured", f"{section}\n\n## How it is measured", 1))
    print(section)


if __name__ == "__main__":
    main()
