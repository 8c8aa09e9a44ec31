"""Grade the exercises in students' notebooks: python -m helpers.grading FOLDER_OR_NOTEBOOK ... [--junit REPORT.xml]

Each answer is put into this clone's own copy of the notebook, so that changed checks or deleted cells do not matter,
and that copy is run in a process and a temporary folder of its own. An answer must stand in the exercise's cell.

This runs other people's code. It has a time limit, but it is no sandbox: use an account or a container that holds
nothing of value, and read answers that surprise you.
"""

import argparse
import contextlib
import itertools
import re
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from helpers.teaching.checks.verdict import RIGHT, UNANSWERED, WRONG

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

MISSING = "missing"
VERDICT = re.compile(
    rf"^Exercise (\d\d\.\d): ({RIGHT}|{WRONG}|{UNANSWERED})\.(?: (.*))?$", re.MULTILINE
)


@dataclass(frozen=True)
class Result:
    """What came of one exercise: its number ("03.1"), a state, and the check's words."""

    exercise: str
    state: str
    text: str = ""


def grade(
    path: Path, seconds_per_cell: int = 60, notebooks: Path = HOME / "notebooks"
) -> list[Result]:
    """The results of all exercises of one student's notebook, in order.

    Raises ValueError if the file is no notebook, or none of this series, or if the time limit is too short for this
    machine to run the lesson.
    """
    try:
        student = nbformat.read(path, as_version=4)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a notebook ({type(error).__name__}): ask for it again"
        ) from error
    original = _official(path, student, notebooks)
    official, title = nbformat.read(original, as_version=4), original.name[:2]
    answers = {check: source for check, source in _exercises(student)}
    expected, kept = [], []
    for i, cell in enumerate(official.cells):
        tags = cell.metadata.get("tags", [])
        if "exercise" in tags:
            check = official.cells[i + 1].source
            expected.append((f"{title}.{len(expected) + 1}", check, check in answers))
            cell.source = answers.get(check, cell.source)
        if cell.cell_type == "code" and not {"long", "quiz"} & set(tags):
            kept.append(cell)
    official.cells = kept
    said = _run(official, seconds_per_cell)
    silent = (WRONG, "The check was not reached, or gave no verdict.")
    return [
        Result(number, *said.get(check, silent)) if there else Result(number, MISSING)
        for number, check, there in expected
    ]


def _official(path: Path, student: nbformat.NotebookNode, notebooks: Path) -> Path:
    title = re.search(
        r"^# (\d\d)\. ",
        "\n".join(c.source for c in student.cells if c.cell_type == "markdown"),
        re.M,
    )
    found = sorted(notebooks.glob(f"{title[1]}_*.ipynb")) if title else []
    if not found:
        raise ValueError(
            f"{path} is no notebook of this series: its title should begin with a number, as in '# 03. '"
        )
    return found[0]


def _exercises(notebook: nbformat.NotebookNode) -> Iterable[tuple[str, str]]:
    """Each check's source, and the code cell before it."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for before, cell in itertools.pairwise(code):
        if "check" in cell.metadata.get("tags", []) or cell.source.startswith("check."):
            yield cell.source, before.source


def _run(notebook: nbformat.NotebookNode, seconds_per_cell: int) -> dict[str, tuple[str, str]]:
    """Run a notebook and read its checks: state and text by the check's source."""
    started: dict[int, float] = {}
    stopped: set[int] = set()  # positions of the cells that reached the limit

    def note_start(cell: nbformat.NotebookNode, cell_index: int) -> None:
        started[cell_index] = time.monotonic()

    def note_end(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict) -> None:
        if time.monotonic() - started[cell_index] >= seconds_per_cell:
            stopped.add(cell_index)

    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=seconds_per_cell,
            interrupt_on_timeout=True,
            allow_errors=True,
            on_cell_execute=note_start,
            on_cell_executed=note_end,
            resources={"metadata": {"path": folder}},
        )
        with contextlib.suppress(DeadKernelError):  # what was checked until then counts
            client.execute()
    for i in stopped:
        cell = notebook.cells[i]
        if not {"exercise", "check"} & set(cell.metadata.get("tags", [])):
            raise ValueError(
                f"a cell of the lesson itself took more than {seconds_per_cell} s: grade again with larger --seconds"
                f" ({cell.source.splitlines()[0]})"
            )
    results = {}
    for i, (answer, check) in enumerate(itertools.pairwise(notebook.cells)):
        if "check" not in check.metadata.get("tags", []):
            continue
        verdicts = VERDICT.findall("".join(output.get("text", "") for output in check.outputs))
        errors = [
            output
            for cell in (answer, check)
            for output in cell.outputs
            if output.output_type == "error"
        ]
        if {i, i + 1} & stopped:
            results[check.source] = WRONG, f"It was stopped after {seconds_per_cell} s."
        elif errors:
            results[check.source] = WRONG, f"{errors[0].ename}: {errors[0].evalue}"
        elif len(verdicts) == 1:
            results[check.source] = verdicts[0][1:]
        elif verdicts:
            results[check.source] = WRONG, "The answer prints a verdict of its own."
    return results


def table(results: dict[str, list[Result] | str]) -> str:
    """One line for each exercise, or for a notebook that could not be graded."""
    lines = []
    for name, rows in results.items():
        if isinstance(rows, str):
            lines.append(f"{name}  error  {rows}")
            continue
        lines += [f"{name}  {row.exercise}  {row.state:<16} {row.text}".rstrip() for row in rows]
        lines.append(f"{name}  {sum(row.state == RIGHT for row in rows)} of {len(rows)} right")
    return "\n".join(lines)


def junit(results: dict[str, list[Result] | str]) -> ElementTree.ElementTree:
    """The same as JUnit XML: wrong and missing are failures, unanswered is skipped."""
    root = ElementTree.Element("testsuites")
    for name, rows in results.items():
        suite = ElementTree.SubElement(root, "testsuite", name=name)
        if isinstance(rows, str):
            case = ElementTree.SubElement(suite, "testcase", classname=name, name="notebook")
            ElementTree.SubElement(case, "error", message=rows)
            continue
        for row in rows:
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=row.exercise)
            if row.state == UNANSWERED:
                ElementTree.SubElement(case, "skipped", message=row.state)
            elif row.state != RIGHT:
                ElementTree.SubElement(case, "failure", message=row.text or row.state)
    return ElementTree.ElementTree(root)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, help="notebooks, or folders of them")
    parser.add_argument("--junit", type=Path, help="also write this JUnit XML file")
    parser.add_argument("--seconds", type=int, default=60, help="time limit of a cell")
    options = parser.parse_args(arguments)
    files = [f for p in options.paths for f in (sorted(p.rglob("*.ipynb")) if p.is_dir() else [p])]
    results: dict[str, list[Result] | str] = {}
    for file in files:
        if ".ipynb_checkpoints" in file.parts:
            continue
        try:
            results[str(file)] = grade(file, options.seconds)
        except ValueError as error:
            results[str(file)] = str(error)
        print(table({str(file): results[str(file)]}), flush=True)
    if not results:
        parser.error("there is no notebook in " + ", ".join(map(str, options.paths)))
    if options.junit:
        junit(results).write(options.junit, encoding="utf-8", xml_declaration=True)


if __name__ == "__main__":
    main()
