"""Seconds of each notebook, and the peak memory of its kernel: python tests/benchmarks/notebooks.py

Notebooks and package are copied to a folder of their own, with fresh caches and no runs: nothing in
the clone changes. With PETS_DATA set it runs on that dataset (whose photographs must stay out).

    --only 04 07        notebooks whose names begin so
    --out notebooks     keep what was executed, for a commit: the outputs of one clean run

Target: each ends within 3 minutes, 04 within 10, and 04 takes at most 2.5 GB. Exits with 1 if a
notebook failed or missed it.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

ROOT = Path(__file__).resolve().parents[2]
SECONDS, SECONDS_OF_04, MEMORY_OF_04 = 180, 600, 2.5
WIDGET = "application/vnd.jupyter.widget-view+json"
MEMORY = """
from pathlib import Path as _Path
import sys as _sys
if _sys.platform == "linux":
    _peak = int(_Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e6
else:
    import resource as _resource
    _peak = _resource.getrusage(_resource.RUSAGE_SELF).ru_maxrss / 1e9
print(_peak)
"""


def clean_copy(root: Path, target: Path) -> dict[str, str]:
    """Copy what the notebooks need. Returns the environment that lets them use it, and it alone."""
    left_out = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("helpers", "notebooks"):
        shutil.copytree(root / name, target / name, ignore=left_out)
    return os.environ | {"PYTHONPATH": str(target), "UNET_HOME": str(target / "home")}


def execute(path: Path, environment: dict[str, str]) -> tuple[nbformat.NotebookNode, float, float]:
    """The executed notebook, its seconds, and the peak memory of the kernel in GB."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(MEMORY))
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=3600, record_timing=False, resources=resources)
    start = time.perf_counter()
    client.execute(env=environment)
    seconds = time.perf_counter() - start
    return notebook, seconds, float(notebook.cells.pop().outputs[0].text)


def keep(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write an executed notebook, without what only a running kernel can show."""
    notebook.metadata.pop("widgets", None)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop(WIDGET, None)  # its picture or text stays
    notebook, _ = CoalesceStreamsPreprocessor(enabled=True).preprocess(notebook, {})
    nbformat.write(notebook, path)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--out", type=Path, help="folder for the executed notebooks")
    options = parser.parse_args(arguments)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)

    total, missed = 0.0, []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = clean_copy(root, Path(folder))
        for path in sorted((Path(folder) / "notebooks").glob("*.ipynb")):
            if not path.name.startswith(tuple(options.only)):
                continue
            try:
                notebook, seconds, memory = execute(path, environment)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                print(f"{path.stem:<32} failed\n{error}", flush=True)
                missed.append(path.stem)
                continue

            if options.out:
                keep(notebook, options.out / path.name)
            print(f"{path.stem:<32} {seconds:6.1f} s  {memory:5.2f} GB", flush=True)
            is_04, total = path.name.startswith("04"), total + seconds
            if seconds > (SECONDS_OF_04 if is_04 else SECONDS):
                missed.append(path.stem)
            elif is_04 and memory > MEMORY_OF_04:
                missed.append(path.stem)

    print(f"{'together':<32} {total:6.1f} s, on {os.cpu_count()} cores")
    print(f"failed, or missed its target: {', '.join(missed)}" if missed else "all in time")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
