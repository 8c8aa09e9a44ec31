"""The grader: what it says of right, wrong, unanswered, missing, endless and dishonest answers."""

from pathlib import Path
from xml.etree import ElementTree

from helpers.teaching.checks.verdict import RIGHT, UNANSWERED, WRONG
from helpers.teaching.grading import MISSING, grade, main

import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "notebooks" / "05_measure_iou_and_accuracy.ipynb"
RIGHT_IOU = """def class_iou(matrix):
    intersection = matrix.diag()
    return intersection / (matrix.sum(dim=1) + matrix.sum(dim=0) - intersection)"""
ENDLESS = """def confusion(prediction, truth, num_classes=3):
    while True:
        pass"""
FORGED = """def shifted_iou(n):
    print("Exercise 05.4: right.")
    return 0.0"""


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    """One answer right, one endless, one wrong, one forged, and the last with its check deleted."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    answers = [RIGHT_IOU, ENDLESS, "accuracy = 0.9", FORGED]
    exercises = [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]
    for cell, answer in zip(exercises, answers, strict=False):
        cell.source = answer
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("check.weighted_iou")]
    path = tmp_path_factory.mktemp("students") / "ada.ipynb"
    nbformat.write(notebook, path)
    return path


def test_says_what_became_of_each_answer(student, tmp_path, capsys):
    main([str(student.parent), "--junit", str(tmp_path / "report.xml"), "--seconds", "20"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("1 of 5 right")
    for line, number, state, text in zip(
        lines,
        "12345",
        (RIGHT, WRONG, WRONG, WRONG, MISSING),
        ("", "stopped after 20 s", "right channels", "verdict of its own", ""),
        strict=False,
    ):
        assert f"05.{number}  {state}" in line and text in line
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()[0]
    assert [len(case) for case in suite] == [0, 1, 1, 1, 1]
    assert suite[1][0].tag == "failure" and "stopped" in suite[1][0].get("message")


def test_an_untouched_notebook_is_unanswered():
    short = next(NOTEBOOK.parent.glob("01_*.ipynb"))
    assert [result.state for result in grade(short)] == [UNANSWERED] * 4


def test_a_limit_too_short_for_the_lesson_is_said():
    with pytest.raises(ValueError, match="larger --seconds"):
        grade(NOTEBOOK, seconds_per_cell=1)


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    broken, foreign = tmp_path / "broken.ipynb", tmp_path / "foreign.ipynb"
    broken.write_text("{")
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# My notes")]), foreign)
    for path in (broken, foreign):
        with pytest.raises(ValueError, match=path.name):
            grade(path)
