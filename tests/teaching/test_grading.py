"""The grader: what it says of right, wrong, unanswered, missing, endless and rebound answers."""

from pathlib import Path
from xml.etree import ElementTree

from helpers.teaching import grading
from helpers.teaching.checks.verdict import RIGHT, UNANSWERED, WRONG
from helpers.teaching.grading import MISSING, Result, grade, main

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SERIES = Path(__file__).resolve().parents[2] / "notebooks"
RIGHT_IOU = """def class_iou(matrix):
    intersection = matrix.diag()
    return intersection / (matrix.sum(dim=1) + matrix.sum(dim=0) - intersection)"""
ENDLESS = """def confusion(prediction, truth, num_classes=3):
    while True:
        pass"""
FORGED = """check.shifted_iou = lambda answer: print("Exercise 05.4: right.")
shifted_iou = None"""


def cell(source: str, number: str = "", *tags: str):
    metadata = {"exercise": number, "tags": list(tags)} if number else {}
    return new_code_cell(source, metadata=metadata)


@pytest.fixture
def official(tmp_path) -> Path:
    """A folder with a notebook 05 of five exercises and nothing else, so that a test is short."""
    imports = "import torch\nfrom helpers.teaching.checks import nb05 as check"
    cells = [new_markdown_cell("# 05. Measure"), cell(imports)]
    names = ["class_iou", "confusion", "weighted_iou", "shifted_iou", "accuracy"]
    checks = ["class_iou", "confusion", "weighted_iou", "shifted_iou", "pixel_accuracy"]
    for k, (name, check) in enumerate(zip(names, checks, strict=True), start=1):
        cells.append(cell(f"{name} = ...", f"05.{k}", "exercise"))
        cells.append(cell(f"check.{check}({name})", f"05.{k}", "check"))
    folder = tmp_path / "official"
    folder.mkdir()
    nbformat.write(new_notebook(cells=cells), folder / "05_measure.ipynb")
    return folder


@pytest.fixture
def student(official):
    """A student's copy, which a test fills in."""
    return nbformat.read(official / "05_measure.ipynb", as_version=4)


def graded(student, official: Path, **options) -> list[Result]:
    path = official.parent / "ada.ipynb"
    nbformat.write(student, path)
    return grade(path, notebooks=official, **options)


def answer(student, k: int):
    return student.cells[2 * k]


def states(results: list[Result]) -> list[str]:
    return [result.state for result in results]


@pytest.mark.slow
def test_says_what_became_of_each_answer(student, official, tmp_path, capsys, monkeypatch):
    """One right, one endless, one wrong, one whose check was rebound, and one deleted."""
    plain = "weighted_iou = lambda matrix: class_iou(matrix).mean()"
    for k, source in enumerate([RIGHT_IOU, ENDLESS, plain, FORGED], start=1):
        answer(student, k).source = source
    del student.cells[10:]
    (tmp_path / "students").mkdir()
    nbformat.write(student, tmp_path / "students" / "ada.ipynb")
    monkeypatch.setattr(grading, "SERIES", tmp_path / "notebooks")
    official.rename(tmp_path / "notebooks")
    main([str(tmp_path / "students"), "--junit", str(tmp_path / "report.xml"), "--seconds", "20"])

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("1 of 5 right")
    expected = [(RIGHT, ""), (WRONG, "time limit"), (WRONG, "plain mean"), (WRONG, "nothing")]
    for k, (line, (state, text)) in enumerate(
        zip(lines, [*expected, (MISSING, "")], strict=False), start=1
    ):
        assert f"05.{k}  {state}" in line and text in line
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()[0]
    assert [len(case) for case in suite] == [0, 1, 1, 1, 1]
    assert suite[1][0].tag == "failure" and "time limit" in suite[1][0].get("message")


@pytest.mark.slow
def test_cells_added_around_an_answer_are_tolerated_and_a_printed_line_is_no_verdict(
    student, official
):
    # Right, though a line and a cell below it fail, a comment in one check, and one deleted.
    answer(student, 1).source = f"{RIGHT_IOU}\nprint(class_iou(what_a_long_cell_made))"
    answer(student, 2).source = 'print("Exercise 05.2: right.")\nconfusion = lambda *answers: 0'
    answer(student, 3).source = "weighted_iou = from_elsewhere"
    answer(student, 4).source = "shifted_iou = 1 / 0"
    student.cells[3].source = "# my check\n" + student.cells[3].source
    del student.cells[7]
    fractions = "matrix.sum(dim=1) / matrix.sum()"
    helper = f"def from_elsewhere(matrix):\n    return ({fractions} * class_iou(matrix)).sum()"
    student.cells.insert(6, cell(helper))  # above exercise 3
    student.cells.insert(3, cell("print(class_iou(torch.eye(3)))\nnot_there"))  # below exercise 1

    results = graded(student, official)
    assert states(results) == [RIGHT, WRONG, RIGHT, WRONG, UNANSWERED]
    assert results[3].text == "ZeroDivisionError: division by zero"


@pytest.mark.slow
def test_a_limit_too_short_for_the_lesson_is_said(student, official):
    """A lesson of one cell that sleeps, so that nothing is imported within the limit."""
    path = official / "05_measure.ipynb"
    lesson = nbformat.read(path, as_version=4)
    lesson.cells[1:] = [cell("import time\ntime.sleep(60)"), lesson.cells[2]]
    nbformat.write(lesson, path)
    with pytest.raises(ValueError, match="larger --seconds"):
        graded(student, official, seconds_per_cell=3)


def test_a_notebook_of_the_first_edition_says_what_to_do(student, official):
    for cell_ in student.cells:
        cell_.metadata.pop("exercise", None)
    with pytest.raises(ValueError, match=r"edition 0\.2") as error:
        graded(student, official)
    assert "ada.ipynb" in str(error.value) and "copy the answers" in str(error.value)


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    broken, foreign = tmp_path / "broken.ipynb", tmp_path / "foreign.ipynb"
    broken.write_text("{")
    nbformat.write(new_notebook(cells=[new_markdown_cell("# My notes")]), foreign)
    for path in (broken, foreign):
        with pytest.raises(ValueError, match=path.name):
            grade(path)


def test_every_exercise_of_the_series_is_found():
    """Answer and check of the series' own notebooks, by their numbers."""
    count = 0
    for path in sorted(SERIES.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        stated = [c for c in notebook.cells if "exercise" in c.metadata.get("tags", [])]
        answers = grading._answers(notebook, notebook)
        assert list(answers) == [c.metadata.exercise for c in stated]
        assert list(answers.values()) == [[c] for c in stated]
        count += len(stated)
    assert count >= 30
