"""Quizzes: every notebook's can be read, and the form answers as it should."""

import re
import shutil
from pathlib import Path

from helpers.teaching.quiz import Option, Question, quiz, read_quiz

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TWO = """## Quiz

**Question 1.** What is 1 + 1? Choose one.

- **a** 2
- **b** 3

<details><summary>Answer</summary>

- **a** Right. Two.
- **b** Wrong. One `too` many.

</details>

**Question 2.** Which are even? Choose all that apply.

- **a** 2
- **b** 3
- **c** 4

<details><summary>Answer</summary>

- **a** Right. Twice 1.
- **b** Wrong. Odd.
- **c** Right. Twice 2.

</details>
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "quiz.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), path)
    return path


def test_the_series_is_looked_at():
    assert len(NOTEBOOKS) >= 9


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_a_question_for_each_objective(path):
    questions = read_quiz(path)
    assert len(questions) in (4, 5, 6)
    text = nbformat.read(path, as_version=4).cells[0].source
    learn = text.partition("**What you will learn**")[2].partition("\n- **What you need")[0]
    objectives = re.findall(r"^  \d\. ", learn, re.MULTILINE)
    assert len(objectives) == len(questions)
    assert all(len(question.options) >= 3 for question in questions)


def test_reads_questions(tmp_path):
    one, two = read_quiz(write(tmp_path, TWO))
    options = [Option("2", True, "Two."), Option("3", False, "One `too` many.")]
    assert one == Question("What is 1 + 1? Choose one.", options)
    assert [option.right for option in two.options] == [True, False, True]


def test_a_bare_name_is_looked_for_here_and_in_the_series(tmp_path, monkeypatch):
    (tmp_path / "series").mkdir()
    shutil.copy(write(tmp_path, TWO), tmp_path / "series" / "series.ipynb")
    monkeypatch.setattr("helpers.teaching.quiz.SERIES", tmp_path / "series")
    monkeypatch.chdir(tmp_path)
    assert len(read_quiz("quiz.ipynb")) == len(read_quiz("series.ipynb")) == 2
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_quiz("nowhere.ipynb")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("- **b** Wrong. Odd.\n", "", "each option needs an answer"),
        ("Wrong. Odd.", "No. Odd.", "begins with Right. or Wrong."),
        ("Choose all that apply.", "Choose one.", "do not fit"),
        ("Choose all that apply.", "", "can be read"),
        ("Right. Two.", "Wrong. Two.", "do not fit"),
    ],
)
def test_a_broken_quiz_is_named(tmp_path, old, new, message):
    assert old in TWO
    with pytest.raises(ValueError, match=r"quiz\.ipynb") as error:
        read_quiz(write(tmp_path, TWO.replace(old, new)))
    assert message in str(error.value)


def test_the_form_explains_what_was_chosen(tmp_path):
    one, two = quiz(write(tmp_path, TWO)).children
    a, b, button, feedback = one.children[1:]
    assert "Choose one." in one.children[0].value and not a.value
    button.click()
    assert "Choose something" in feedback.value

    b.value = True
    button.click()
    assert "Wrong" in feedback.value and "<code>too</code>" in feedback.value
    assert "Two." not in feedback.value

    a, _, c, button, feedback = two.children[1:]
    a.value = True
    button.click()
    assert "more that is right" in feedback.value

    c.value = True
    button.click()
    assert "more that is right" not in feedback.value and feedback.value.count("Right") == 2
