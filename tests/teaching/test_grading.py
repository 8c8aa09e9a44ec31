"""The grader: twelve submissions, marked in one command, and the parts that it is made of."""

import csv
import io
import json
import os
import queue
import re
from pathlib import Path
from xml.etree import ElementTree

from helpers.teaching import grading, guard, judge, submission, watch
from helpers.teaching.checks import verdict
from helpers.teaching.checks.verdict import RIGHT, UNANSWERED, WRONG
from helpers.teaching.grading import Report, Result, given, main, marks_table, quiz_marks
from helpers.teaching.guard import CallWatch
from helpers.teaching.quiz import Option, Question
from helpers.teaching.watch import Limits, Step

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

SERIES = Path(__file__).resolve().parents[2] / "notebooks"

# A lesson of four exercises. The inputs of the third are a coin's, so that luck shows.
LESSON = """
import torch
from types import SimpleNamespace
from helpers.teaching.checks.verdict import ask, compare, exercise, number, refuse

@exercise("05.1")
def double(function):
    x = torch.rand(3)
    compare(ask(function, x), 2 * x, {}, "Twice as much.")
    return "Twice."

@exercise("05.2")
def total(function):
    x = torch.rand(3)
    compare(ask(function, x), x.sum(), {}, "All of them.")
    return "The sum."

@exercise("05.3")
def face(function):
    coin = torch.rand(1).item()
    compare(number(ask(function, coin)), float(coin > 0.5), {}, "Which side?")
    return "The face."

@exercise("05.4")
def largest(guess, values):
    compare(number(guess), values.max(), {}, "Which is the largest?")
    return "The largest."

check = SimpleNamespace(double=double, total=total, face=face, largest=largest)
values = torch.tensor([3.0, 7.0, 5.0])
"""
CHECKS = {
    "05.1": ("double = ...", "check.double(double)"),
    "05.2": ("total = ...", "check.total(total)"),
    "05.3": ("face = ...", "check.face(face)"),
    "05.4": ("guess = ...", "check.largest(guess, values)"),
}
ANSWERS = {
    "05.1": "def double(x):\n    return 2 * x",
    "05.2": "def total(x):\n    return x.sum()",
    "05.3": "def face(coin):\n    return float(coin > 0.5)",
    "05.4": "guess = 7",
}
QUESTIONS = [
    Question("Choose one.", [Option("", False, ""), Option("", True, "")]),
    Question("Choose all that apply.", [Option("", right, "") for right in (True, False, True)]),
]
REPLACED = "the check was replaced"

# A function of torch that is replaced from within an answer, lies once, and puts itself back.
LIAR = """
class Guess(float):
    def __float__(self):
        def lie(*a, **k):
            torch.as_tensor = real
            return real(7.0)
        real, torch.as_tensor = torch.as_tensor, lie
        return 1.0
guess = Guess()
"""
LYING = """def double(x):
    def lie(*a, **k):
        compare.__globals__["torch"].allclose = real
        return True
    real = compare.__globals__["torch"].allclose
    compare.__globals__["torch"].allclose = lie
    return x"""


def cell(source: str, number: str = "", *tags: str):
    return new_code_cell(source, metadata={"exercise": number, "tags": list(tags)} if tags else {})


def quiz_cell(answers: str = ""):
    words = f'quiz("05", "{answers}")' if answers else 'quiz("05")'
    return new_code_cell(words, metadata={"tags": ["quiz"]})


@pytest.fixture
def official(tmp_path, monkeypatch) -> Path:
    """A folder with a notebook 05 of four exercises and a quiz, so that a test is short."""
    cells = [new_markdown_cell("# 05. Measure"), cell(LESSON)]
    for number, (stub, check) in CHECKS.items():
        cells += [cell(stub, number, "exercise"), cell(check, number, "check")]
    cells[-2:-2] = [new_code_cell("limit = 1")]  # a lesson between two exercises
    folder = tmp_path / "official"
    folder.mkdir()
    nbformat.write(new_notebook(cells=[*cells, quiz_cell()]), folder / "05_measure.ipynb")
    monkeypatch.setattr(grading, "read_quiz", lambda name: QUESTIONS)
    return folder


class Student:
    """A copy of the official notebook that a student fills in."""

    def __init__(self, official: Path, **answers: str) -> None:
        self.notebook = nbformat.read(official / "05_measure.ipynb", as_version=4)
        for name, source in answers.items():
            self.find(name, "exercise").source = source

    def find(self, name: str, tag: str):
        """The cell of an exercise, such as e1."""
        number = f"05.{name[1:]}"
        found = [c for c in self.notebook.cells if submission.number(c) == number]
        return next(c for c in found if submission.has(c, tag))

    def insert_before(self, name: str, source: str) -> None:
        place = self.notebook.cells.index(self.find(name, "exercise"))
        self.notebook.cells.insert(place, new_code_cell(source))

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(self.notebook, path)


def all_right() -> dict[str, str]:
    return {f"e{number[-1]}": source for number, source in ANSWERS.items()}


def honest(official: Path, folder: Path) -> None:
    """Five: all right, stopped at limits, unanswered, with cells of their own, re-ordered."""
    ada = Student(official, **all_right())
    ada.notebook.cells[-1] = quiz_cell("1b 2ac")
    ada.find("e1", "check").source += "  # my check"
    ada.save(folder / "ada" / "05.ipynb")

    endless = "def total(x):\n    while True:\n        pass"
    greedy = "memory = bytearray(2 * 10**10)\ndef face(coin):\n    return float(coin > 0.5)"
    bob = Student(official, **{**all_right(), "e2": endless, "e3": greedy})
    bob.notebook.cells[-1] = quiz_cell("1a")
    bob.save(folder / "bob" / "my 05.ipynb")

    Student(official).save(folder / "cleo.ipynb")

    dan = Student(official, **{**all_right(), "e2": "total = from_elsewhere"})
    dan.notebook.cells[1].source = "import math\n" + LESSON
    dan.find("e1", "exercise").source += "\nmath.pi\nprint(double(made_by_a_long_cell))"
    dan.insert_before("e2", "def from_elsewhere(x):\n    return x.sum()\nnot_there")
    dan.notebook.cells.remove(dan.find("e3", "check"))
    dan.notebook.cells.remove(dan.find("e4", "exercise"))
    dan.save(folder / "dan" / "05.ipynb")

    emil = Student(official, **{**all_right(), "e1": "def double(x):\n    return x + x"})
    cells = emil.notebook.cells
    cells[2:6] = cells[4:6] + cells[2:4]
    emil.save(folder / "emil" / "05.ipynb")


def cheating(official: Path, folder: Path) -> None:
    """Five: a check replaced, answers by heart, pasted output, an edited check, torch replaced."""
    forged = (
        "check.double = check.total = lambda answer: print('Exercise 05.1: right.')\ndouble = 0"
    )
    Student(official, e1=forged, e2=forged).save(folder / "fay" / "05.ipynb")

    by_heart = "def total(x):\n    return torch.tensor(1.234)"
    Student(official, e2=by_heart, e3="face = lambda coin: 1").save(folder / "gus" / "05.ipynb")

    hal = Student(official, e1="double = 4")
    said = new_output("stream", name="stdout", text="Exercise 05.1: right. Twice.\n")
    hal.find("e1", "check").outputs = [said]
    hal.save(folder / "hal" / "05.ipynb")

    ida = Student(official, e2="total = 4", e4="values[:] = 0\nguess = 0")
    ida.find("e2", "check").source = 'print("Exercise 05.2: right. The sum.")'
    ida.save(folder / "ida" / "05.ipynb")

    code = "def total(x):\n    compare.__code__ = (lambda *a: None).__code__"
    network = "import urllib.request\nurllib.request.urlopen('http://example.org')\nface = 1"
    jan = Student(official, e1=LYING, e2=code, e3=network, e4=LIAR)
    jan.save(folder / "jan" / "05.ipynb")


def broken(folder: Path) -> None:
    (folder / "kim").mkdir()
    (folder / "kim" / "05.ipynb").write_text('{"cells": [')
    (folder / "lea").mkdir()
    (folder / "lea" / "homework.pdf").write_bytes(b"%PDF-1.4")


def elsewhere(official: Path, path: Path) -> None:
    """Right answers, in cells of the student's own: without the exercise's, and below a check."""
    mia = Student(official)
    mia.notebook.cells[1].source = "%matplotlib inline\nTWO = 2\nNONE = {[]: 1}\n" + LESSON
    mia.insert_before("e1", "def double(x):\n    return TWO * x")
    mia.notebook.cells.remove(mia.find("e1", "exercise"))
    mia.insert_before("e3", "def total(x):\n    return x.sum()")
    mia.find("e4", "exercise").source = "check = 1\nguess = 7"
    mia.save(path)


@pytest.mark.slow
def test_answers_in_cells_of_their_own(official, tmp_path):
    elsewhere(official, tmp_path / "mia.ipynb")
    report = grading.grade(tmp_path / "mia.ipynb", 7, Limits(10, 4), official)
    assert [result.state for result in report.results] == [RIGHT, UNANSWERED, UNANSWERED, RIGHT]
    remarks = [result.remarks for result in report.results]
    assert remarks == [(), (submission.BELOW,), (), (judge.TAKEN,)]


@pytest.mark.slow
def test_twelve_submissions_are_marked_in_one_command(official, tmp_path, capsys):
    """Five honest, five cheating, two broken: marks, remarks, one row and one suite each."""
    folder = tmp_path / "submissions"
    folder.mkdir()
    honest(official, folder)
    cheating(official, folder)
    broken(folder)
    table, report = tmp_path / "marks.csv", tmp_path / "report.xml"
    order = [folder, "--seed", 7, "--csv", table, "--junit", report, "--seconds", 10]
    assert main([*map(str, order), "--notebooks", str(official)]) == 0

    with open(table, encoding="utf-8", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    names = [*CHECKS, "05 quiz", "exercises right", "quiz right"]
    marks = {student: " ".join(row[n] or "-" for n in names) for student, row in rows.items()}
    assert marks == {
        "ada": "1 1 1 1 2 4 2",
        "bob": "1 0 0 1 0 2 0",
        "cleo": "- - - - - 0 0",
        "dan": "1 1 1 - - 3 0",
        "emil": "1 1 1 1 - 4 0",
        "fay": "0 0 - - - 0 0",
        "gus": "- 0 0 - - 0 0",
        "hal": "0 - - - - 0 0",
        "ida": "- 0 - 0 - 0 0",
        "jan": "0 0 0 0 - 0 0",
        "kim": "- - - - - 0 0",
        "lea": "- - - - - 0 0",
    }

    said = {student: row["remarks"] for student, row in rows.items()}
    assert not any(said[student] for student in ("ada", "bob", "cleo", "dan", "emil"))
    expected = {
        "fay": [f"05.1: {REPLACED}", f"05.2: {REPLACED}"],
        "gus": ["05.3: right for one set of inputs and not for another"],
        "hal": ["05.1: the saved output says right"],
        "ida": ["05.2: the check cell was edited"],
        "jan": [
            f"05.1: {REPLACED}",
            "05.2: it looked into the grader",
            "05.3: it asked for the ne",
        ],
        "kim": ["05.ipynb cannot be read"],
        "lea": ["homework.pdf is no notebook"],
    }
    for student, remarks in expected.items():
        assert all(remark in said[student] for remark in remarks), said[student]

    printed = capsys.readouterr().out
    assert "bob  05.2  not yet          It was stopped at the time limit." in printed
    if os.name == "posix":
        assert "bob  05.3  not yet          It took more than 4 GB of memory." in printed
    assert printed.splitlines()[-12] == "ada  4 of 4 right, quiz 2 of 2"
    suites = {s.get("name"): s for s in ElementTree.parse(report).getroot()}
    assert [len(case) for case in suites["bob 05"].iter("testcase")] == [0, 1, 1, 0, 1, 1]
    assert suites["kim 05.ipynb"][0][0].tag == "error"


@pytest.mark.slow
def test_a_dead_process_is_started_again_and_its_cell_left_out():
    """A cell that ends the process, and one that cannot be stopped in a friendly way."""
    lesson = Step("lesson", "", "import sys\nn = 0")
    dead = Step("answer", "05.1", "import os\nn = 1\nos._exit(3)")
    deaf = "while True:\n    try:\n        pass\n    except BaseException:\n        pass"
    deaf = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{deaf}"
    after = Step("lesson", "", "assert n == 0")
    steps = [lesson, dead, Step("answer", "05.2", deaf), after]
    found = watch.run(steps, "7", [], Limits(seconds=5))
    assert found[1].error == "It ended its process (exit code 3)." and found[1].fatal
    assert found[2].error == watch.STOPPED and found[3].error == ""


@pytest.mark.slow
def test_a_limit_too_short_for_the_lesson_is_said(official, tmp_path):
    path = official / "05_measure.ipynb"
    lesson = nbformat.read(path, as_version=4)
    lesson.cells[1].source = "import time\ntime.sleep(60)"
    nbformat.write(lesson, path)
    Student(official, **all_right()).save(tmp_path / "ada.ipynb")
    report = grading.grade(tmp_path / "ada.ipynb", 7, Limits(seconds=0.5), official)
    assert {row.state for row in report.results} == {grading.ERROR}
    assert "larger --seconds" in report.results[0].text


def test_a_file_that_is_no_notebook_of_this_edition_is_named(official, tmp_path):
    first = Student(official)
    for part in first.notebook.cells:
        part.metadata.pop("exercise", None)
    other = Student(official)
    other.find("e4", "exercise").metadata.exercise = "05.9"
    contents = {
        "empty": ("", "is empty"),
        "broken": ("{", "cannot be read"),
        "list": ("[1, 2]", "cannot be read"),
        "foreign": (
            nbformat.writes(new_notebook(cells=[new_markdown_cell("# My notes")])),
            "title",
        ),
        "first": (nbformat.writes(first.notebook), r"edition 0\.2.*copy the answers"),
        "other": (nbformat.writes(other.notebook), r"another edition.*05\.9"),
    }
    for name, (text, words) in contents.items():
        path = tmp_path / f"{name}.ipynb"
        path.write_text(text)
        with pytest.raises(ValueError, match=f"{name}.ipynb.*{words}"):
            grading.grade(path, notebooks=official)


def test_strange_metadata_do_not_end_the_class(official, tmp_path):
    strange = json.loads(nbformat.writes(Student(official).notebook))
    strange["cells"][2]["metadata"] = {"exercise": ["05.1"], "tags": "exercise"}
    (tmp_path / "eve.ipynb").write_text(json.dumps(strange))
    (report,) = grading.grade_student([tmp_path / "eve.ipynb"], 0, Limits(), official)
    assert "cannot be read" in report.error


def test_whose_files_are_whose(tmp_path):
    for name in ("ada/05.ipynb", "ada/notes.txt", "ada/.ipynb_checkpoints/05.ipynb", "bob.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("eve/essay.pdf", "marks.csv", ".DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "nobody").mkdir()
    found = submission.by_student([tmp_path], but_not=[tmp_path / "marks.csv"])
    names = {student: [file.name for file in files] for student, files in found.items()}
    assert names == {"ada": ["05.ipynb"], "bob": ["bob.ipynb"], "eve": ["essay.pdf"], "nobody": []}


def test_two_students_of_one_name_are_two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for group in ("one", "two"):
        (tmp_path / group / "ada").mkdir(parents=True)
        (tmp_path / group / "ada" / "05.ipynb").touch()
    (tmp_path / "two" / "bob").mkdir()
    found = submission.by_student([Path("one"), Path("two")])
    assert list(found) == ["one/ada", "two/ada", "bob"]

    # As loose files, such as the shell makes of one/*: the better copy is not both students'.
    loose = [Path(group) / "ada" / "05.ipynb" for group in ("one", "two")]
    assert list(submission.by_student(loose)) == ["one/ada/05.ipynb", "two/ada/05.ipynb"]
    inside = [Path("one/ada"), Path("two/ada")]
    assert list(submission.by_student(inside)) == ["one/ada/05.ipynb", "two/ada/05.ipynb"]


def test_what_is_called_like_the_folder_lies_outside_of_it(tmp_path):
    hook = object.__new__(guard.Hook)  # not installed: that is for good
    hook.own = str(tmp_path / "own")
    assert not hook._outside(tmp_path / "own" / "a.txt") and not hook._outside(os.devnull)
    assert hook._outside(tmp_path / "own_escaped.txt") and hook._outside(tmp_path / "a.txt")


def test_names_that_no_terminal_shows_do_not_end_the_class(official, tmp_path, monkeypatch):
    for name in ("Zoë", os.fsdecode(b"M\xfcller")):  # the latter from an archive made elsewhere
        try:
            (tmp_path / "in" / name).mkdir(parents=True)
        except OSError:  # a file system that takes only UTF-8
            continue
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, encoding="ascii"))
    marks = tmp_path / "marks.csv"
    assert main([str(tmp_path / "in"), "--csv", str(marks), "--notebooks", str(official)]) == 0
    assert b"Zo\\xeb" in shown.getvalue() and "Zoë" in marks.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--csv .", r"\. is a folder: name a file"),
        ("--junit one_file/x.xml", r"cannot write to one_file \(File exists\): make the folder"),
        ("--seconds -1", "--seconds must be above 0, not -1"),
        ("--memory nan", "--memory must be above 0, not nan"),
        ("--notebooks in", "in holds no notebook"),
    ],
)
def test_what_could_not_be_kept_is_refused_before_any_work(
    flags, message, official, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "one_file").touch()
    with pytest.raises(SystemExit):
        main(["in", "--notebooks", str(official), *flags.split()])
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.slow
def test_long_texts_and_lines_do_not_fill_the_graders_memory(monkeypatch):
    lengths, bounds = [], []

    class Watched(queue.Queue):
        def __init__(self, maxsize):
            bounds.append(maxsize)
            super().__init__(maxsize)

        def put(self, line, **options):
            lengths.append(len(line))
            super().put(line, **options)

    monkeypatch.setattr(watch.queue, "Queue", Watched)
    error = Step("answer", "05.1", 'raise ValueError("x" * 30_000_000)')
    flood = (
        "import os\n"
        "for fd in range(3, 10):\n"
        "    try:\n"
        "        os.write(fd, b'x' * 2**24)\n"
        "    except OSError:\n"
        "        pass"
    )
    steps = [error, Step("answer", "05.2", flood), Step("answer", "05.3", "n = 1")]
    found = watch.run(steps, "7", [], Limits(seconds=10))
    assert len(found[0].error) < 2100 and found[0].error.startswith("ValueError: xxx")
    assert max(lengths) == watch.LONGEST_LINE and set(bounds) == {watch.MOST_LINES}
    assert found[2].error == "" and not found[2].fatal  # the rest goes on


def test_a_check_whose_helper_was_replaced_is_seen():
    """Also where it puts itself back before the check ends. An honest answer may be called."""
    name = str(Path(verdict.__file__).with_name("nb99.py"))
    names: dict = {}
    text = "def find(answer):\n    got = answer()\n    compare(got)"
    exec(compile(text, name, "exec"), names)
    cell_names = {"names": names}
    for kind in (
        "def fake(got): pass",
        "class Fake:\n    def __call__(self, got): pass\nfake = Fake()",
    ):
        source = f"{kind}\ndef answer():\n    names['compare'] = fake"
        exec(compile(source, "<ipython-input-1>", "exec"), cell_names)
        for answer, lied in ((cell_names["answer"], True), (lambda: None, False)):
            names["compare"] = lambda got: None
            with CallWatch(verdict, {names["find"].__code__}) as calls:
                names["find"](answer)
            assert calls.lied == lied


@pytest.mark.parametrize(
    ("source", "answers"),
    [
        ('quiz("05", "1b 2ac 3d")', {1: "b", 2: "ac", 3: "d"}),
        ('quiz("05", "1B, 2 ca")', {1: "b", 2: "ac"}),
        ('quiz("05", answers="2c 2a")', {2: "ac"}),
        ('quiz("05", "")', {}),
        ('quiz("05_measure_iou_and_accuracy.ipynb")', {}),
        ('quiz("05", open("key").read())', {}),
        ('quiz("05", "1b', {}),
        ('other("05", "1b")', {}),
    ],
)
def test_the_answers_to_a_quiz_are_read_and_not_run(source, answers):
    assert given(source) == answers


def test_answers_to_another_quiz_do_not_count_and_any_cell_may_hold_them(official, tmp_path):
    student = Student(official)
    student.notebook.cells += [
        new_code_cell('quiz("05", "1b 2ac")'),
        new_code_cell('quiz("02", "1a")'),
    ]
    student.save(tmp_path / "ada.ipynb")
    assert grading.grade(tmp_path / "ada.ipynb", notebooks=official).quiz == [1, 1]


def test_a_question_counts_if_exactly_the_right_letters_are_chosen():
    assert quiz_marks({1: "b", 2: "ac"}, QUESTIONS) == [1, 1]
    assert quiz_marks({1: "ab", 2: "a"}, QUESTIONS) == [0, 0]
    assert quiz_marks({2: "ac", 9: "a"}, QUESTIONS) == [None, 1]


def test_every_quiz_of_the_series_has_a_key():
    for path in sorted(SERIES.glob("*.ipynb")):
        questions = grading._questions(nbformat.read(path, as_version=4))
        assert questions and all(any(o.right for o in q.options) for q in questions)


def test_the_table_holds_no_formula_and_no_line_breaks():
    row = Result("05.1", WRONG, "", ("\x1b[31mit\nsaid",))
    table = marks_table({"=1+1": [Report("a", "05", [row])], "b": [Report("b", error="is empty")]})
    assert table.splitlines() == [
        "student,05.1,exercises right,quiz right,remarks",
        "'=1+1,0,0,0,05.1: [31mit said",
        "b,,0,0,is empty",
    ]


def test_the_better_one_of_two_copies_counts(monkeypatch, tmp_path):
    def grade(path, *_):
        state = RIGHT if path.stem == "new" else UNANSWERED
        return Report(path.name, "05", [Result("05.1", state)])

    monkeypatch.setattr(grading, "grade", grade)
    for order in (["old", "new"], ["new", "old"]):
        paths = [tmp_path / f"{name}.ipynb" for name in order]
        (report,) = grading.grade_student(paths, 0, Limits(), tmp_path)
        assert report.right == 1 and "new.ipynb counts" in report.error


def test_every_exercise_of_the_series_is_found():
    """Answer and check of the series' own notebooks, by their numbers."""
    count = 0
    for path in sorted(SERIES.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        stated = [c for c in notebook.cells if submission.has(c, "exercise")]
        answers = submission.answers(notebook, notebook)
        assert {n: [s.source for s in steps] for n, steps in answers.items()} == {
            c.metadata.exercise: [c.source] for c in stated
        }
        assert not submission.edited_checks(notebook, notebook)
        checks = [s.number for s in submission.steps(notebook, answers) if s.kind == "check"]
        assert checks == list(answers)
        count += len(stated)
    assert count >= 30


@pytest.mark.parametrize(
    ("told", "lacks"),
    [
        ("MemoryError: Unable to allocate 8 TiB", True),
        ("Your code stopped with _ArrayMemoryError: Unable to allocate", True),
        ("RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", True),
        ("ValueError: a MemoryError is only a word here", False),
        ("Your code stopped with ValueError: Cannot allocate memory", False),
        ("RuntimeError: shapes differ", False),
    ],
)
def test_what_lacks_memory_is_told_by_its_type(told, lacks):
    assert watch.lacks_memory(told) is lacks
