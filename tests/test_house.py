"""The rules of the house: which way imports go, what the linters say, what a wheel holds."""

import ast
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

from helpers.networks.pretrained import WEIGHTS_PACKAGE

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "helpers").rglob("*.py"))

# From the bottom to the top: a module imports from the rows below, and from its left in its row.
LAYERS = [
    "constants files",
    "model losses metrics transforms networks distributed",
    "datasets data",
    "checkpoint inference training visualization",
    "tiling",
    "studies teaching",
    "train predict",  # the commands: nothing imports them
]
HEIGHT = {room: height for height, room in enumerate(" ".join(LAYERS).split())}


def room(module: str) -> str:
    """The first part of a dotted name after "helpers."."""
    return module.split(".")[1]


def imported(path: Path) -> set[str]:
    """The modules of the package that a module imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers"):
            names = [f"helpers.{alias.name}" for alias in node.names]
            found |= set(names) if node.module == "helpers" else {node.module}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("helpers.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    here = parts[1]
    for module in imported(path):
        if here == "__init__":
            pytest.fail(f"{module}: the map imports nothing")
        if room(module) != here:
            assert HEIGHT[room(module)] < HEIGHT[here], f"{here} imports {module}"
            assert {here, room(module)} != {"studies", "teaching"} or here == "teaching"


def test_the_losses_load_neither_drawings_nor_datasets():
    code = "import sys, helpers.losses; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = set(loaded.stdout.split())
    assert "helpers.constants" in modules and "torch" in modules
    assert not {name for name in modules if name.startswith(("helpers.datasets", "torchvision"))}


CHECKS = {
    "ruff": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "spelling": ["codespell_lib", "README.md", "helpers", "tests", "notebooks", ".github"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_style(name):
    command = [sys.executable, "-m", *CHECKS[name]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_data_files_are_packed():
    """Every file that git keeps in helpers/, beside the modules, fits a pattern of package-data."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["helpers"]
    command = ["git", "ls-files", "helpers"]
    tracked = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    files = [name.removeprefix("helpers/") for name in tracked if not name.endswith(".py")]
    assert len(files) > 10
    assert [name for name in files if not any(fnmatch(name, p) for p in patterns)] == []


def test_no_file_is_large():
    """A clone is small, and stays so: nothing above 10 MB, such as weights or a wheel, is kept."""
    command = ["git", "ls-files", "-z"]
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in tracked.split("\0") if (ROOT / name).is_file()]
    assert len(paths) > 100
    assert [path.name for path in paths if path.stat().st_size > 10e6] == []


def test_what_is_imported_is_declared():
    """What the package, the tests and the notebooks import comes from a stated dependency."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    stated = settings["project"]["dependencies"] + settings["dependency-groups"]["dev"]
    names = {re.split(r"[^\w-]", entry)[0].lower() for entry in stated}
    called = {
        "PIL": "pillow",
        "skimage": "scikit-image",
        "sklearn": "scikit-learn",
        "IPython": "ipython",
        WEIGHTS_PACKAGE: WEIGHTS_PACKAGE.replace("_", "-"),
    }

    sources = [path.read_text(encoding="utf-8") for path in MODULES]
    sources += [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    sources += [cell for path in (ROOT / "notebooks").glob("*.ipynb") for cell in code_cells(path)]
    found = {name.split(".")[0] for source in sources for name in outside(source)}
    own = {"helpers", "drawing", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
    standard = set(sys.stdlib_module_names) | own
    assert {called.get(n, n) for n in found - standard} - names == set()

    # The package does not import it, but looks for it.
    assert WEIGHTS_PACKAGE.replace("_", "-") in names


def code_cells(path: Path) -> list[str]:
    import nbformat

    return [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def outside(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
    return found
