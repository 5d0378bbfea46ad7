"""The script as text: what Kubernetes, YAML and its readers need of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from migration import PARTS, ROOT, SCRIPT

RUFF = Path(sys.executable).with_name("ruff")
PATHS = [ROOT / "tests/live"]
MOST_LINES = 220


@pytest.mark.parametrize("words", ["$(", "$$"], ids=["a reference", "an escape"])
def test_kubernetes_expands_nothing_in_it(words):
    """Kubernetes finds nothing to expand in the script."""
    assert words not in SCRIPT


def test_it_is_shown_as_a_block():
    """`kubectl get -o yaml` can show the script line by line, as it was written."""
    assert SCRIPT.isascii() and "\t" not in SCRIPT
    assert not any(line != line.rstrip() for line in SCRIPT.splitlines())
    assert max(map(len, SCRIPT.splitlines())) <= 88
    assert yaml.safe_load(yaml.safe_dump(SCRIPT, default_style="|")) == SCRIPT


def test_it_is_short():
    """Each part of the script stays a page or two or three."""
    lines = {part.name: len(part.read_text().splitlines()) for part in PARTS}
    assert all(count <= MOST_LINES for count in lines.values()), lines


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_it_is_clean(command, tmp_path):
    """ruff finds nothing in the script and in these tests."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = subprocess.run(
        [RUFF, *command, *PATHS, script],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
