"""The house rules of the package: which module may import which, how long a module is, and its style."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "helpers").rglob("*.py"))
MAY_IMPORT = {
    "helpers": set(),
    "sketch": {"sketch"},
    "sketch.breeds": set(),
    "sketch.brush": set(),
    "sketch.pet": {"sketch"},
    "sketch.scene": {"sketch"},
    "model": set(),
    "metrics": set(),
    "checks": set(),
    "checks.verdict": set(),
    "checks.data": {"checks", "data", "metrics"},
    "checks.blocks": {"checks", "model"},
    "checks.training": {"checks", "data"},
    "checks.metrics": {"checks", "data", "metrics"},
    "checks.analysis": {"checks", "data", "experiments"},
    "quiz": set(),
    "grading": {"checks", "source"},
    "plan": {"visualization"},
    "source": {"sketch"},
    "data": {"source"},
    "checkpoint": {"data", "model", "source"},
    "losses": {"data"},
    "calibration": {"data"},
    "training": {"checkpoint", "data", "losses", "metrics"},
    "prediction": {"data", "training"},
    "report": {"data", "metrics", "source"},
    "experiments": {
        "calibration",
        "checkpoint",
        "data",
        "metrics",
        "model",
        "prediction",
        "report",
        "source",
        "training",
    },
    "tables": {"data", "report"},
    "visualization": {"data", "metrics"},
    "widgets": {"data", "metrics", "plan", "visualization"},
}


def name(path: Path) -> str:
    """The module's name without the leading "helpers."."""
    parts = path.relative_to(ROOT / "helpers").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "helpers"


every_module = pytest.mark.parametrize("path", MODULES, ids=name)


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "helpers":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("helpers.")}
    return found


@every_module
def test_imports_run_one_way_and_modules_are_short(path):
    assert imported(path) <= MAY_IMPORT[name(path)]
    assert len(path.read_text(encoding="utf-8").splitlines()) < 300


@every_module
def test_everything_public_is_documented_and_tested_beside(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
    module = name(path).split(".")[0]
    assert module == "helpers" or (ROOT / "tests" / f"test_{module}.py").is_file()


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_style(command):
    run = subprocess.run([sys.executable, "-m", "ruff", *command, ROOT], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_wheel_holds_weights_and_records():
    """Whatever lies in the package beside its modules is package data."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    package = ROOT / "helpers"
    covered = {path for pattern in settings["package-data"]["helpers"] for path in package.glob(pattern)}
    present = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert present and present <= covered
    folders = {path.parent for path in package.rglob("*.py")}
    assert {str(folder.relative_to(ROOT)).replace("\\", "/").replace("/", ".") for folder in folders} == set(
        settings["packages"]
    )
