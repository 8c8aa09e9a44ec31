"""Grade the exercises in students' notebooks.

An exercise is found by its number in the metadata of its cells. The answer, and cells that the
student added before its check, are put into this clone's own copy of the notebook, so that changed
checks and deleted cells do not matter. That copy is run in a process and a temporary folder of its
own; what counts is what its check found, not what was printed.

This runs other people's code. It has a time limit, but it is no sandbox: use an account or a
container that holds nothing of value, and read answers that surprise you.
"""

import argparse
import contextlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from helpers.teaching import SERIES
from helpers.teaching.checks.verdict import RIGHT, UNANSWERED, WRONG

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode

MISSING, ERROR = "missing", "error"
STOPPED = "KeyboardInterrupt: "  # what the time limit leaves in a cell

# Run first: a student's answers are not the ones that this clone's notebooks go on with.
KEEP_NOTHING = """
from helpers.teaching.checks import verdict
verdict.keep = lambda *_: None
"""

# Run after each check: what it found, read from where answers do not usually reach.
READ_VERDICT = """
from IPython.display import display
from helpers.teaching.checks.verdict import FOUND
display({{"application/json": FOUND.pop({!r}, None)}}, raw=True)
"""


@dataclass(frozen=True)
class Result:
    """What came of one exercise: its number ("03.1"), a state, and the check's words."""

    exercise: str
    state: str
    text: str = ""


def grade(path: Path, seconds_per_cell: int = 60, notebooks: Path | None = None) -> list[Result]:
    """The results of all exercises of one student's notebook, in order.

    Args:
        path: the student's notebook.
        seconds_per_cell: the time limit.
        notebooks: the folder of the official ones, this clone's if None.

    Raises ValueError if the file is no notebook, or none of this edition of the series, or if the
    time limit is too short for this machine to run the lesson.
    """
    try:
        student = nbformat.read(path, as_version=4)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a notebook ({type(error).__name__}): ask for it again"
        ) from error

    official = _official(path, student, notebooks or SERIES)
    answers = _answers(student, official)
    results = _run(_put_in(official, answers), seconds_per_cell)
    numbers = [_number(cell) for cell in official.cells if _is(cell, "exercise")]
    return [results[n] if n in answers else Result(n, MISSING) for n in numbers]


def _official(path: Path, student: NotebookNode, folder: Path) -> NotebookNode:
    """Our copy of a student's notebook, found by the number in its title."""
    text = "\n".join(cell.source for cell in student.cells if cell.cell_type == "markdown")
    title = re.search(r"^# (\d\d)\. ", text, re.MULTILINE)
    found = sorted(folder.glob(f"{title[1]}_*.ipynb")) if title else []
    if not found:
        raise ValueError(
            f"{path} is no notebook of this series: its title should begin with a number, as in"
            " '# 03. '"
        )
    if not any(_number(cell) for cell in student.cells):
        raise ValueError(
            f"{path} has no cell with the number of an exercise in its metadata: it was filled in"
            " with edition 0.2, or by a program that drops metadata. Grade it with edition 0.2, or"
            f" copy the answers into this edition's {found[0].name}"
        )
    return nbformat.read(found[0], as_version=4)


def _answers(student: NotebookNode, official: NotebookNode) -> dict[str, list[NotebookNode]]:
    """By exercise: its cell, and the code cells that the student added since the check before."""
    ours = {cell.id for cell in official.cells} | {cell.source for cell in official.cells}
    answers: dict[str, list[NotebookNode]] = {}
    added: list[NotebookNode] = []

    for cell in student.cells:
        number = _number(cell)
        if _is(cell, "exercise"):
            answers[number] = [*answers.get(number, []), *added, cell]
            added = answers[number]  # what is added below the answer belongs to it, too
        elif number:
            added = []  # a check: what follows belongs to the next exercise
        elif cell.cell_type == "code" and not {cell.get("id"), cell.source} & ours:
            added.append(cell)
    return answers


def _put_in(official: NotebookNode, answers: dict[str, list[NotebookNode]]) -> NotebookNode:
    """The official notebook with a student's answers; what is long or a quiz is left out."""
    cells = [nbformat.v4.new_code_cell(KEEP_NOTHING)]
    for cell in official.cells:
        number = _number(cell)
        if cell.cell_type != "code" or _is(cell, "long") or _is(cell, "quiz"):
            continue
        if _is(cell, "exercise"):
            for own in answers.get(number, []):
                cells.append(_cell(own.source, number, "answer" if _number(own) else "added"))
            continue
        cells.append(cell)
        if _is(cell, "check"):
            cells.append(_cell(READ_VERDICT.format(number), number, "verdict"))
    return nbformat.v4.new_notebook(cells=cells, metadata=official.metadata)


def _run(notebook: NotebookNode, seconds_per_cell: int) -> dict[str, Result]:
    """Run a notebook and read what its checks found, by exercise."""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=seconds_per_cell,
            interrupt_on_timeout=True,
            allow_errors=True,
            resources={"metadata": {"path": folder}},
        )
        with contextlib.suppress(DeadKernelError):  # what was checked until then counts
            client.execute()

    by_number: dict[str, list[NotebookNode]] = {}
    for cell in notebook.cells:
        if not _number(cell) and STOPPED in map(_error, cell.outputs):
            raise ValueError(
                f"a cell of the lesson itself took more than {seconds_per_cell} s: grade again"
                f" with larger --seconds ({cell.source.splitlines()[0]})"
            )
        by_number.setdefault(_number(cell), []).append(cell)
    return {number: _result(number, cells) for number, cells in by_number.items() if number}


def _result(number: str, cells: list[NotebookNode]) -> Result:
    """What came of one exercise, from its cells: answer, check, verdict, and added ones."""
    verdicts = [output for cell in cells if _is(cell, "verdict") for output in cell.outputs]
    found = [o.data["application/json"] for o in verdicts if o.output_type == "display_data"]
    state, text = found[0] if any(found) else (WRONG, "The check found nothing.")

    # A right answer may be followed by lines that fail, such as a use of what a long cell makes.
    judged = [cell for cell in cells if not _is(cell, "added")]  # those may be scratch
    errors = [error for cell in judged for error in map(_error, cell.outputs) if error]
    if state != RIGHT and errors:
        stopped = STOPPED in errors
        return Result(number, WRONG, "It was stopped at the time limit." if stopped else errors[0])
    return Result(number, state, text)


def _cell(source: str, number: str, tag: str) -> NotebookNode:
    about = {"exercise": number, "tags": [tag]}
    return nbformat.v4.new_code_cell(source, metadata=about)


def _error(output: NotebookNode) -> str:
    """An output's error in one line, if it is one."""
    is_error = output.output_type == "error"
    return f"{output.ename}: {output.evalue}" if is_error else ""


def _number(cell: NotebookNode) -> str:
    return cell.metadata.get("exercise", "")


def _is(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def table(results: dict[str, list[Result]]) -> str:
    """One line for each exercise, and one for each notebook."""
    lines = []
    for name, rows in results.items():
        lines += [f"{name}  {row.exercise}  {row.state:<16} {row.text}".rstrip() for row in rows]
        if rows[0].state != ERROR:
            lines.append(f"{name}  {sum(row.state == RIGHT for row in rows)} of {len(rows)} right")
    return "\n".join(lines)


def junit(results: dict[str, list[Result]]) -> ElementTree.ElementTree:
    """The same as JUnit XML: wrong and missing are failures, unanswered is skipped."""
    kinds = {UNANSWERED: "skipped", ERROR: "error"}
    root = ElementTree.Element("testsuites")
    for name, rows in results.items():
        suite = ElementTree.SubElement(root, "testsuite", name=name)
        for row in rows:
            case = ElementTree.SubElement(suite, "testcase", classname=name, name=row.exercise)
            if row.state != RIGHT:
                kind = kinds.get(row.state, "failure")
                ElementTree.SubElement(case, kind, message=row.text or row.state)
    return ElementTree.ElementTree(root)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.teaching.grading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, help="notebooks, or folders of them")
    parser.add_argument("--junit", type=Path, help="also write this JUnit XML file")
    parser.add_argument("--seconds", type=int, default=60, help="time limit of a cell")
    options = parser.parse_args(arguments)

    # Checkpoints of Jupyter are copies of what is graded anyway.
    files = [f for p in options.paths for f in (sorted(p.rglob("*.ipynb")) if p.is_dir() else [p])]
    files = [file for file in files if ".ipynb_checkpoints" not in file.parts]
    if not files:
        parser.error("there is no notebook in " + ", ".join(map(str, options.paths)))

    results = {}
    for file in files:
        try:
            found = grade(file, options.seconds)
        except ValueError as error:
            found = [Result("notebook", ERROR, str(error))]
        results[str(file)] = found
        print(table({str(file): found}), flush=True)
    if options.junit:
        junit(results).write(options.junit, encoding="utf-8", xml_declaration=True)


if __name__ == "__main__":
    main()
