"""What importing the package does: waiting threads sleep, without a setting of the reader's."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | variables
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def test_threads_that_wait_sleep():
    """OpenMP itself says so, when torch loads it."""
    shown = run("import helpers, torch; torch.ones(9)", OMP_DISPLAY_ENV="TRUE").stderr
    assert re.search(r"OMP_WAIT_POLICY\s*=\s*'PASSIVE'", shown), shown


def test_another_choice_of_the_reader_stays():
    code = "import os, helpers; print(os.environ['OMP_WAIT_POLICY'])"
    assert run(code).stdout.strip() == "PASSIVE"
    assert run(code, OMP_WAIT_POLICY="ACTIVE").stdout.strip() == "ACTIVE"


NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_helpers_before_torch(path):
    """OpenMP reads the variable once."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    imports = re.findall(r"^\s*(?:import|from) (helpers|torch\w*)\b", code, re.MULTILINE)
    assert imports[0] == "helpers"
