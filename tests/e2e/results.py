"""The suite's outcome: tests/e2e/results.json, and from that README's table and docs/tested.md.

`tests/e2e/run --write` writes both. What an earlier run noted stays as long as the test's file does, so that a part of
the suite can be run again; failures are noted too. `python tests/e2e/results.py` writes the page anew.
"""

import functools
import hashlib
import json
import os
import re
from pathlib import Path

import cluster

FILE = Path(__file__).with_name("results.json")
PAGE = cluster.ROOT / "docs/tested.md"
START, END = "<!-- clusters: tests/e2e/run --write -->", "<!-- end of clusters -->"
TAKEN = {}


def title(item):
    text = " ".join((item.function.__doc__ or item.name).split("\n\n")[0].split())
    case = getattr(item, "callspec", None)
    return f"{text} ({case.id})" if case else text


def take(report):
    if report.when == "call" or report.outcome != "passed":
        reason = report.longrepr[2] if report.skipped else ""
        TAKEN[report.nodeid.rpartition("/")[2]] = {
            "title": report.title, "outcome": report.outcome,
            "seconds": round(report.duration, 1), "reason": reason, "of": PRINTS[report.nodeid.partition("::")[0].rpartition("/")[2]],
        }  # fmt: skip


def fingerprint(nodeid):
    """Changes with the test's file: then an older result is of no use."""
    file = Path(__file__).with_name(nodeid.partition("::")[0].rpartition("/")[2])
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""


# Taken at the start: a file that is edited while its tests run is another.
PRINTS = {path.name: fingerprint(path.name) for path in Path(__file__).parent.glob("test_*.py")}


@functools.cache
def versions():
    kubernetes = json.loads(cluster.kubectl("version", "-ojson").ok())
    node = cluster.get("nodes")["items"][0]["status"]["nodeInfo"]
    chart = (cluster.ROOT / "charts/prefect-guard/Chart.yaml").read_text()
    return {
        "prefect-guard": re.search(r"(?m)^version: *(.+)$", chart)[1],
        "Kubernetes": kubernetes["serverVersion"]["gitVersion"],
        "kubectl": kubernetes["clientVersion"]["gitVersion"],
        "Helm": cluster.helm(), "kubelet": node["kubeletVersion"],
        "container runtime": node["containerRuntimeVersion"],
        "Prefect": ", ".join(i.rpartition(":")[2] for i in (cluster.OLD, cluster.NEW)),
        "PostgreSQL": os.environ.get("E2E_POSTGRES_VERSION", cluster.POSTGRES.rpartition(":")[2]),
    }  # fmt: skip


def write():
    before = json.loads(FILE.read_text())["tests"] if FILE.exists() else {}
    before = {name: test for name, test in before.items() if test["of"] == fingerprint(name)}
    kept = {"versions": versions(), "tests": before | TAKEN}
    FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    page()


def section():
    """The part of the page about clusters, from what is checked in."""
    kept = json.loads(FILE.read_text())
    rows = [
        f"| {t['title']} | {t['outcome']}{': ' + t['reason'] if t['reason'] else ''} | {t['seconds']} s |"
        for t in kept["tests"].values()
    ]
    return "\n".join([
        START, "", "## On a cluster with a node", "",
        "Written by `tests/e2e/run --write`: the chart installed as the README says, and real pods.", "",
        "| what | version |", "|---|---|", *(f"| {n} | {v} |" for n, v in kept["versions"].items()),
        "", "| shown | outcome | time |", "|---|---|---|", *rows, "", END, "",
    ])  # fmt: skip


def page():
    text = PAGE.read_text()
    rest = re.sub(f"\n*{re.escape(START)}.*{re.escape(END)}\n*", "\n", text, flags=re.DOTALL)
    PAGE.write_text(f"{rest.rstrip()}\n\n{section()}")
    readme = cluster.ROOT / "README.md"
    text = readme.read_text()
    for name, run in rows_of_the_readme().items():
        text = re.sub(rf"^(\| {name} \| )[^|]*", lambda found, run=run: f"{found[1]}{run} ", text, flags=re.MULTILINE)
    readme.write_text(text)


def rows_of_the_readme():
    """What README's table says was really run."""
    kept = json.loads(FILE.read_text())
    found, passed = kept["versions"], sum(t["outcome"] == "passed" for t in kept["tests"].values())
    return {
        "Kubernetes": f"{found['Kubernetes'][1:]} with a node: {passed} end-to-end tests; kubectl {found['kubectl'][1:]}",
        "prefect-guard's chart": f"installed with Helm {found['Helm'][1:]} on that node",
    }


if __name__ == "__main__":
    page()
