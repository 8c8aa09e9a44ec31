"""Quizzes: every notebook has one that can be read, and the form answers as it should."""

import json
import re
from pathlib import Path

from helpers.teaching.__main__ import student_edition
from helpers.teaching.quiz import (
    QUIZZES,
    Option,
    Question,
    quiz,
    read_choices,
    read_quiz,
    static,
    write_choices,
)

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TWO = """# Quiz of notebook 05

## Question 1

What is 1 + 1? Choose one.

- **a** It is `2`
  - Right. Two.
- **b** It is 3
  - Wrong. One `too` many.
- **c** It is 1 < 2
  - Wrong. One too few.

## Question 2, from notebook 02

Which are even? Choose all that apply.

- **a** 2
  - Right. Twice 1.
- **b** 3
  - Wrong. Odd.
- **c** 4
  - Right. Twice 2.
- **d** 5
  - Wrong. Odd.
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of its own: no answers of the reader's, and none left behind."""
    monkeypatch.setenv("UNET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def two(tmp_path, monkeypatch) -> list[Question]:
    """The two questions above, as the quiz of notebook 05."""
    (tmp_path / "05.md").write_text(TWO)
    monkeypatch.setattr("helpers.teaching.quiz.QUIZZES", tmp_path)
    return read_quiz("05")


def shown(form) -> str:
    """What all of a form says, without tags."""
    parts = [form.score.value, form.line.value, *(f.feedback.value for f in form.forms)]
    return re.sub("<[^>]+>", "", " ".join(parts))


every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class TestQuestions:
    def test_every_notebook_has_a_quiz_and_every_quiz_a_notebook(self):
        assert len(NOTEBOOKS) >= 9
        numbers = [path.stem for path in sorted(QUIZZES.glob("*.md"))]
        assert numbers == [path.name[:2] for path in NOTEBOOKS]

    @every_notebook
    def test_one_for_each_objective_and_from_03_on_one_or_two_from_before(self, path):
        number = path.name[:2]
        questions = read_quiz(number)
        own = [question for question in questions if not question.source]
        text = nbformat.read(path, as_version=4).cells[0].source
        learn = text.partition("**What you will learn**")[2].partition("\n- **What you need")[0]
        assert len(own) == len(re.findall(r"^  \d\. ", learn, re.MULTILINE))

        # Those from before stand behind them.
        again = questions[len(own) :]
        assert questions[: len(own)] == own and 4 <= len(questions) <= 7
        assert all(question.source < number for question in again)
        assert len(again) in ((1, 2) if number >= "03" else (0,))

    @every_notebook
    def test_options_give_nothing_away_by_their_length(self, path):
        for question in read_quiz(path.name[:2]):
            lengths = [len(option.text) for option in question.options]
            assert len(lengths) == 4 and max(lengths) <= 1.6 * min(lengths) + 8, question.text
            assert len({option.text for option in question.options}) == 4

    def test_nor_by_their_place(self):
        questions = [question for path in NOTEBOOKS for question in read_quiz(path.name[:2])]
        single = [question for question in questions if len(question.answer) == 1]
        for letter in "abcd":
            part = sum(question.answer == letter for question in single) / len(single)
            assert 0.15 < part < 0.35, letter
        longest = [max(len(option.text) for option in question.options) for question in single]
        right = [next(len(o.text) for o in question.options if o.right) for question in single]
        assert sum(a == b for a, b in zip(longest, right, strict=True)) <= 0.5 * len(single)


class TestReading:
    def test_questions(self, two):
        options = (
            Option("It is `2`", True, "Two."),
            Option("It is 3", False, "One `too` many."),
            Option("It is 1 < 2", False, "One too few."),
        )
        assert two[0] == Question("What is 1 + 1? Choose one.", options)
        assert (two[0].answer, two[1].answer) == ("a", "ac")
        assert two[1].source == "02"

    def test_a_number_without_a_quiz_is_named(self, two):
        with pytest.raises(FileNotFoundError, match="'5': there are 05"):
            read_quiz("5")

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("  - Wrong. One too few.\n", "", "question 1: an option and a line"),
            ("Wrong. One too", "No. One too", "question 1: an option and a line"),
            ("- **a** 2\n", "- 2\n", "question 2: an option and a line"),
            ("- **b** 3\n", "- **c** 3\n", "question 2: three options or more"),
            ("- **b** It is 3\n  - Wrong. One `too` many.\n", "", "question 1: three options"),
            ("Choose all that apply.", "Choose one.", "question 2: 2 right options do not fit"),
            ("Choose one.", "Choose all that apply.", "question 1: 1 right options do not fit"),
            ("Right. Two.", "Wrong. Two.", "question 1: 0 right options do not fit"),
            ("Choose all that apply.", "Choose.", "question 2: its text must end in"),
            ("## Question 2", "## Question 3", "numbered [1, 3]"),
            ("## Question", "## No. ", "numbered []"),
        ],
    )
    def test_a_broken_quiz_is_named(self, tmp_path, old, new, message):
        assert old in TWO
        (tmp_path / "05.md").write_text(TWO.replace(old, new))
        with pytest.raises(ValueError, match=r"^05\.md") as error:
            read_quiz("05", tmp_path)
        assert message in str(error.value)


class TestChoices:
    def test_there_and_back(self, two):
        assert read_choices(" 2ca  1b ", two) == {1: "b", 2: "ac"}
        assert write_choices({2: "ac", 1: "b", 3: ""}) == "1b 2ac"
        assert read_choices("", two) == {}

    @pytest.mark.parametrize(
        ("part", "message"),
        [
            ("b1", "is no choice"),
            ("1", "is no choice"),
            ("1b,", "is no choice"),
            ("1B", "is no choice"),
            ("0a", "questions 1 to 2"),
            ("3a", "questions 1 to 2"),
            ("1d", "question 1 has a, b, c"),
            ("2aa", "each once"),
            ("1ab", "asks for one"),
            ("2b", "answered before"),
        ],
    )
    def test_a_malformed_part_is_named(self, two, part, message):
        with pytest.raises(ValueError, match=f"^'{part}'") as error:
            quiz("05", f"2a {part}")
        assert message in str(error.value)


class TestForm:
    def test_explains_what_was_chosen(self, two):
        form = quiz("05")
        one, other = form.forms
        assert "Choose one." in one.children[0].value and shown(form).split() == []
        one.button.click()
        assert "Choose something first." in shown(form) and "right so far" not in shown(form)

        one.boxes[1].value = True
        one.button.click()
        assert "✗ b: Wrong." in one.feedback.value and "<code>too</code>" in one.feedback.value
        assert "Two." not in one.feedback.value and "0 of 2 right so far" in shown(form)

        other.boxes[0].value = True
        other.button.click()
        assert "There is more that is right." in shown(form) and "0 of 2" in shown(form)
        other.boxes[2].value = True
        other.button.click()
        assert "more that is right" not in shown(form) and "1 of 2" in shown(form)
        assert other.feedback.value.count("✓") == 2

    def test_a_wrong_choice_beside_the_right_ones_does_not_count(self, two):
        form = quiz("05", "2abc")
        form.forms[1].button.click()
        assert "0 of 2" in shown(form) and "more that is right" not in shown(form)

    def test_what_was_said_goes_with_the_choice(self, two):
        form = quiz("05", "1a 2ac")
        one, other = form.forms
        one.button.click()
        other.button.click()
        assert "2 of 2 right so far" in shown(form)

        one.boxes[1].value = True  # and takes a away
        assert not one.feedback.value and other.feedback.value
        assert "1 of 2 right so far" in shown(form) and 'quiz("05", "1b 2ac")' in shown(form)
        other.boxes[2].value = False
        assert not other.feedback.value and "right so far" not in shown(form)
        one.button.click()
        assert "✗ b: Wrong." in one.feedback.value and "0 of 2" in shown(form)

    def test_one_choice_takes_the_place_of_another(self, two):
        one, other = quiz("05").forms
        one.boxes[0].value = True
        one.boxes[2].value = True
        assert one.chosen == "c"
        other.boxes[0].value = other.boxes[2].value = True
        assert other.chosen == "ac"

    def test_labels_are_plain_text(self, two):
        labels = [box.description for box in quiz("05").forms[0].boxes]
        assert labels == ["a: It is 2", "b: It is 3", "c: It is 1 < 2"]

    @every_notebook
    def test_no_label_has_marks(self, path):
        for form in quiz(path.name[:2]).forms:
            for box in form.boxes:
                assert not re.search(r"[`$\\]|\*|</?\w|&\w+;", box.description[3:]), box.description

    def test_shows_the_line_to_hand_in(self, two):
        form = quiz("05")
        form.forms[1].boxes[2].value = True
        form.forms[0].boxes[1].value = True
        assert 'To hand in: quiz("05", "1b 2c")' in shown(form)
        form.forms[1].boxes[2].value = False
        assert 'quiz("05", "1b")' in shown(form)
        form.forms[0].boxes[1].value = False
        assert "To hand in" not in shown(form)

    def test_begins_with_what_is_handed_in_and_explains_nothing(self, two):
        form = quiz("05", "1b 2ac")
        assert [one.chosen for one in form.forms] == ["b", "ac"]
        assert shown(form).strip() == 'To hand in: quiz("05", "1b 2ac")'


class TestKeeping:
    def test_a_new_kernel_finds_what_was_chosen_at_the_last_check(self, two, home):
        first = quiz("05", "1b 2ac")
        first.forms[1].button.click()
        kept = home / "runs" / "mine" / "quiz-05.json"
        assert json.loads(kept.read_text()) == {"chosen": "1b 2ac", "checked": "2ac"}
        assert list(kept.parent.iterdir()) == [kept]

        again = quiz("05")
        assert [one.chosen for one in again.forms] == ["b", "ac"]
        assert "1 of 2 right so far" in shown(again) and 'quiz("05", "1b 2ac")' in shown(again)
        assert not again.forms[0].feedback.value and "Twice 1." in again.forms[1].feedback.value

    def test_what_was_chosen_after_its_check_is_not_explained(self, two):
        first = quiz("05", "1b 2a")
        first.forms[0].button.click()
        first.forms[0].boxes[0].value = True
        first.forms[1].button.click()
        again = quiz("05")
        assert again.forms[0].chosen == "a" and not again.forms[0].feedback.value

    def test_what_is_handed_in_comes_first(self, two):
        quiz("05", "1b").forms[0].button.click()
        assert [one.chosen for one in quiz("05", "2d").forms] == ["", "d"]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "3",
            "{}",
            '{"chosen": 1, "checked": 2}',
            '{"chosen": "9z", "checked": ""}',
            '{"chosen": "1a", "checked": "7a"}',
            b"\xff\xfe",
        ],
    )
    def test_a_broken_file_is_begun_anew(self, two, home, text):
        kept = home / "runs" / "mine" / "quiz-05.json"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(text if isinstance(text, bytes) else text.encode())
        form = quiz("05")
        assert [one.chosen for one in form.forms] == ["", ""] and not shown(form).strip()
        form.forms[0].boxes[0].value = True
        form.forms[0].button.click()
        assert json.loads(kept.read_text())["checked"] == "1a"

    def test_an_unwritable_folder_is_said_and_stops_nothing(self, two, home):
        home.write_text("a file where the folder should be")
        form = quiz("05", "1a")
        form.forms[0].button.click()
        assert "✓ a: Right. Two." in shown(form) and "1 of 2" in shown(form)
        assert "Your answers are not kept: cannot write to" in shown(form)


class TestWithoutAKernel:
    def test_shows_questions_and_options(self, two):
        saved = quiz("05", "1a")._repr_mimebundle_()
        for kind in ("text/html", "text/plain"):
            words = " ".join(re.sub("<[^>]+>", "", saved[kind]).split())
            for part in ("Question 1. What is 1 + 1?", "From notebook 02.", "Which are even?"):
                assert part in words, kind
        assert "<b>a</b> It is <code>2</code></li>" in saved["text/html"]
        assert "  c: It is 1 < 2\n" in saved["text/plain"]

    @every_notebook
    def test_saved_quizzes_hold_every_question_and_no_answer(self, path):
        number = path.name[:2]
        questions = read_quiz(number)
        cells = nbformat.read(path, as_version=4).cells
        (cell,) = [cell for cell in cells if "quiz" in cell.metadata.get("tags", [])]
        assert cell.source == f'quiz("{number}")' and len(cell.outputs) == 1
        assert cell.outputs[0].data == static(questions), "the output is not of this quiz"

        # The verdicts stand nowhere in the notebook, and the questions in the output alone.
        assert cells[cells.index(cell) - 1].source.startswith("## Quiz\n\nChoose, ")
        text = "\n".join([*(c.source for c in cells), *cell.outputs[0].data.values()])
        for question in questions:
            assert not any(option.why in text for option in question.options)
            assert not any(question.text in c.source for c in cells)

    @every_notebook
    def test_the_student_edition_gives_no_answer_away(self, path):
        edition = student_edition(nbformat.read(path, as_version=4))
        text = "\n".join(cell.source for cell in edition.cells)
        (cell,) = [cell for cell in edition.cells if "quiz" in cell.metadata.get("tags", [])]
        assert cell.source == f'quiz("{path.name[:2]}")' and not cell.outputs
        verdicts = [o.why for question in read_quiz(path.name[:2]) for o in question.options]
        assert not any(why in text for why in verdicts)
