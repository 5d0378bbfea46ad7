"""The script as text: what Kubernetes, YAML and its readers need of it."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from migration import ROOT, SCRIPT, WAIT

RUFF = Path(sys.executable).with_name("ruff")
PATHS = [ROOT / "tests/live"]
MOST_LINES = 220
PARTS = sorted((ROOT / "src/migration/script").glob("*.py"))
SCRIPTS = pytest.mark.parametrize("script", [SCRIPT, WAIT], ids=["upgrade", "wait"])


@SCRIPTS
@pytest.mark.parametrize("words", ["$(", "$$"], ids=["a reference", "an escape"])
def test_kubernetes_expands_nothing_in_it(words, script):
    """Kubernetes finds nothing to expand in the script."""
    assert words not in script


@SCRIPTS
def test_it_is_shown_as_a_block(script):
    """`kubectl get -o yaml` can show the script line by line, as it was written."""
    assert script.isascii() and "\t" not in script
    assert not any(line != line.rstrip() for line in script.splitlines())
    assert max(map(len, script.splitlines())) <= 88
    assert yaml.safe_load(yaml.safe_dump(script, default_style="|")) == script


def test_it_is_short():
    """Each part of the script stays a page or two or three."""
    assert len(PARTS) >= 4
    lines = {part.name: len(part.read_text().splitlines()) for part in PARTS}
    assert all(count <= MOST_LINES for count in lines.values()), lines


@SCRIPTS
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_it_is_clean(command, script, tmp_path):
    """ruff finds nothing in the script and in these tests."""
    file = tmp_path / "script.py"
    file.write_text(script)
    run = subprocess.run(
        [RUFF, *command, *PATHS, file],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
