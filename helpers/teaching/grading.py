"""Grade the notebooks that students hand in: exercises and quizzes, one row for each student.

A folder holds a folder for each student, or loose notebooks, each named after its student. Each
answer, with cells that the student added before its check, is put into this clone's own copy of the
notebook. That runs in a process and a temporary folder of its own, with limits on time and memory
and without a network; each check is called three times, with inputs drawn from --seed. A mark is 1
for right in all three, 0 for not right, and empty where there is no answer. What else was seen
stands in the remarks.

This is for honest mistakes and ordinary cheating. It cannot prevent code that attacks the
interpreter itself, whose process it shares with the check; solutions copied from the repository or
from a neighbor; answers by another person, or by a program. It runs other people's code: use an
account or a container that holds nothing of value, and read what surprises you.
"""

import argparse
import ast
import csv
import io
import math
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree

from helpers import files
from helpers.teaching import SERIES, submission, watch
from helpers.teaching.checks.verdict import RIGHT, UNANSWERED, WRONG
from helpers.teaching.quiz import Question, read_quiz
from helpers.teaching.submission import has, number
from helpers.teaching.watch import Limits, Outcome, Step

import nbformat
from nbformat import NotebookNode

MISSING, ERROR = "missing", "error"
MARKS = {RIGHT: 1, WRONG: 0}  # what has no mark: missing, unanswered, not graded
TOO_LONG_A_LINE = 300


@dataclass(frozen=True)
class Result:
    """What came of one exercise: its number ("03.1"), a state, the check's words, and remarks."""

    exercise: str
    state: str
    text: str = ""
    remarks: tuple[str, ...] = ()


@dataclass
class Report:
    """What came of one notebook of a student, such as "05"; of one that cannot be read, an error.

    `quiz` has a mark for each question: 1, 0, or None for no answer.
    """

    file: str
    notebook: str = ""
    results: list[Result] = field(default_factory=list)
    quiz: list[int | None] = field(default_factory=list)
    error: str = ""

    @property
    def right(self) -> int:
        return sum(result.state == RIGHT for result in self.results)

    @property
    def remarks(self) -> list[str]:
        """Each with the number of its exercise, or with the file's name."""
        found = [f"{r.exercise}: {remark}" for r in self.results for remark in r.remarks]
        return [*([self.error] if self.error else []), *found]


def grade(
    path: Path, seed: int = 0, limits: Limits | None = None, notebooks: Path = SERIES
) -> Report:
    """What came of one student's notebook.

    Args:
        seed: checks draw their inputs from it.
        limits: of a cell's time and of the process's memory.
        notebooks: the folder of the official ones.

    Raises ValueError if the file is no notebook, or none of this edition of the series.
    """
    limits = limits or Limits()
    student = submission.read(path)
    place = submission.official_path(path, student, notebooks)
    official = nbformat.read(place, as_version=4)
    answers = submission.answers(student, official)
    numbers = [number(cell) for cell in official.cells if has(cell, "exercise")]

    results = {n: Result(n, UNANSWERED if n in answers else MISSING) for n in numbers}
    stubs = submission.answers(official, official)
    if any(own != stubs[n] for n, own in answers.items()):  # else there is nothing to run
        steps = submission.steps(official, answers)
        outcomes = watch.run(steps, str(seed), submission.given(official), limits)
        late = _late(steps, outcomes, limits)
        results |= {n: _result(n, steps, outcomes, late) for n in answers}

    edited, saved = submission.edited_checks(student, official), submission.saved_as_right(student)
    below = submission.answered_below(student, official)
    for n, result in results.items():
        remarks = [submission.EDITED] if n in edited else []
        if n in below and result.state in (UNANSWERED, MISSING):
            remarks.append(submission.BELOW)
        if n in saved and result.state not in (RIGHT, ERROR):
            remarks.append(submission.SAVED_RIGHT)
        results[n] = replace(result, remarks=(*result.remarks, *remarks))
    marks = quiz_marks(_quiz_answers(student, place.name[:2]), _questions(official))
    return Report(path.name, place.name[:2], list(results.values()), marks)


def _late(steps: list[Step], outcomes: dict[int, Outcome], limits: Limits) -> str:
    """What to do about a cell of the lesson that ended the run, "" if none did."""
    for k, step in enumerate(steps):
        outcome = outcomes.get(k, Outcome())
        if step.kind == "lesson" and (outcome.fatal or outcome.error == watch.STOPPED):
            first = step.source.splitlines()[0]
            if outcome.error.startswith(watch.DIED.partition("(")[0]):
                return (
                    f"In a cell of the lesson: {outcome.error} What an earlier answer has left"
                    f" running, such as a thread, can do so: look at the answers above it ({first})"
                )
            return (
                f"A cell of the lesson did not fit into {watch.LESSON * limits.seconds:g} s and"
                f" {limits.gigabytes:g} GB: grade again with larger --seconds and --memory"
                f" ({first})"
            )
    return ""


def _result(number: str, steps: list[Step], outcomes: dict[int, Outcome], late: str) -> Result:
    """What came of one exercise, from the outcomes of its cells and its check."""
    own = [k for k, step in enumerate(steps) if step.number == number]
    last = outcomes.get(own[-1])  # the check
    if last is None:
        return Result(number, ERROR, _plain(late or "It was not run."))
    state, text = last.state or WRONG, last.text or last.error

    # A right answer may be followed by lines that fail, such as a use of what a long cell makes.
    errors = [outcomes[k].error for k in own if k in outcomes and steps[k].kind != "added"]
    errors = [error for error in errors if error]
    if state != RIGHT and errors:
        state, text = WRONG, errors[0]

    remarks = [remark for k in own if k in outcomes for remark in outcomes[k].remarks]
    once = dict.fromkeys(_plain(remark) for remark in remarks)
    return Result(number, state, _plain(text), tuple(once))


def _plain(text: str) -> str:
    """A text of a student's in one line that a terminal, XML and a table can show."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= TOO_LONG_A_LINE else line[:TOO_LONG_A_LINE] + " ..."


def given(cell_source: str, number: str = "") -> dict[int, str]:
    """The letters that a student chose, by question, from the cell `quiz("05", "1b 2ac")`.

    number: a quiz of another one does not count.
    """
    found: dict[int, str] = {}
    for call in _quiz_calls(cell_source):
        named = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
        if named and not str(named).startswith(number):
            continue
        words = [part.value for part in call.args[1:] if isinstance(part, ast.Constant)]
        words += [k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)]
        for text in (word for word in words if isinstance(word, str)):
            for question, letters in re.findall(r"(\d{1,3})\s*([a-z]+)", text.lower()):
                k = int(question)
                found[k] = "".join(sorted({*found.get(k, ""), *letters}))
    return found


def quiz_marks(given: dict[int, str], questions: list[Question]) -> list[int | None]:
    """For each question, 1 if exactly the right letters are chosen, 0 if not, None if none are."""
    marks: list[int | None] = []
    for k, question in enumerate(questions, start=1):
        right = "".join(chr(ord("a") + i) for i, o in enumerate(question.options) if o.right)
        marks.append(int(given[k] == right) if k in given else None)
    return marks


def _quiz_calls(source: str) -> list[ast.Call]:
    calls = [node for node in submission.nodes(source) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "quiz"]


def _quiz_answers(student: NotebookNode, number: str) -> dict[int, str]:
    """What the student chose; of several cells with the quiz, in the last that holds answers."""
    found = [given(cell.source, number) for cell in student.cells if cell.cell_type == "code"]
    return next((answers for answers in reversed(found) if answers), {})


def _questions(official: NotebookNode) -> list[Question]:
    """The questions and their key, from what the official quiz cell names."""
    for cell in official.cells:
        for call in _quiz_calls(cell.source) if has(cell, "quiz") else []:
            if call.args and isinstance(call.args[0], ast.Constant):
                return read_quiz(str(call.args[0].value))
    return []


def grade_student(paths: list[Path], seed: int, limits: Limits, notebooks: Path) -> list[Report]:
    """What came of one student's files, whatever they are; of two copies, the better one counts."""
    found: dict[str, Report] = {}
    for path in paths:
        try:
            report = grade(path, seed, limits, notebooks)
        except ValueError as error:
            report = Report(path.name, error=_plain(str(error)))
        except Exception as error:  # what a strange file makes of us must not end the class
            words = f"{path.name} could not be graded ({type(error).__name__}: {error})"
            report = Report(path.name, error=_plain(words))

        key = report.notebook or str(path)
        other = found.get(key, report)
        better = max(other, report, key=lambda r: (r.right, sum(m or 0 for m in r.quiz)))
        if other is not report:
            better.error = f"{better.file} counts, the better one of two files for {key}"
        found[key] = better
    return [found[key] for key in sorted(found)]


def lines(student: str, reports: list[Report]) -> str:
    """What is printed for a student: a line for each exercise and file, and one for all."""
    found = []
    for report in reports:
        for row in report.results:
            seen = f" [{'; '.join(row.remarks)}]" if row.remarks else ""
            line = f"{student}  {row.exercise}  {row.state:<16} {row.text}".rstrip()
            found.append(line + seen)
        found += [f"{student}  {report.error}"] if report.error else []

    results = [result for report in reports for result in report.results]
    marks = [mark for report in reports for mark in report.quiz]
    right = f"{sum(r.right for r in reports)} of {len(results)} right"
    quiz = f", quiz {sum(mark or 0 for mark in marks)} of {len(marks)}" if marks else ""
    noted = sum(len(report.remarks) for report in reports)
    remarks = f", {noted} remark{'s' * (noted > 1)}" if noted else ""
    return "\n".join([*found, f"{student}  {right}{quiz}{remarks}"])


def marks_table(graded: dict[str, list[Report]]) -> str:
    """One row for each student, as CSV: marks, sums, and remarks."""
    every = [report for reports in graded.values() for report in reports if report.notebook]
    exercises = sorted({result.exercise for report in every for result in report.results})
    quizzes = sorted({report.notebook for report in every if report.quiz})
    head = ["student", *exercises, *(f"{name} quiz" for name in quizzes)]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow([*head, "exercises right", "quiz right", "remarks"])

    for student, reports in graded.items():
        marks = {r.exercise: MARKS.get(r.state, "") for p in reports for r in p.results}
        quiz: dict[str, int | str] = {}
        for report in reports:
            answered = [mark for mark in report.quiz if mark is not None]
            quiz[report.notebook] = sum(answered) if answered else ""
        row = [marks.get(name, "") for name in exercises] + [quiz.get(name, "") for name in quizzes]
        sums = [sum(p.right for p in reports), sum(mark or 0 for p in reports for mark in p.quiz)]
        remarks = "; ".join(remark for report in reports for remark in report.remarks)
        table.writerow([_cell(student), *row, *sums, _cell(remarks)])
    return out.getvalue()


def _cell(text: str) -> str:
    """A text that a spreadsheet does not take for a formula."""
    plain = _plain(text) if len(text) < TOO_LONG_A_LINE else text
    return f"'{plain}" if plain.startswith(("=", "+", "-", "@")) else plain


def junit(graded: dict[str, list[Report]]) -> bytes:
    """A suite for each student and notebook as JUnit XML: wrong and missing are failures.

    A case is an exercise or a question of the quiz.
    """
    kinds = {UNANSWERED: "skipped", ERROR: "error"}
    root = ElementTree.Element("testsuites")
    for student, reports in graded.items():
        for report in reports:
            name = f"{_plain(student)} {report.notebook or report.file}"
            suite = ElementTree.SubElement(root, "testsuite", name=name)
            marks = {None: UNANSWERED, 0: WRONG, 1: RIGHT}
            rows = report.results if report.notebook else [Result("file", ERROR, report.error)]
            rows = rows + [Result(f"quiz {k}", marks[m]) for k, m in enumerate(report.quiz, 1)]
            for row in rows:
                case = ElementTree.SubElement(suite, "testcase", classname=name, name=row.exercise)
                if row.state != RIGHT:
                    kind = kinds.get(row.state, "failure")
                    ElementTree.SubElement(case, kind, message=row.text or row.state)
            suite.set("tests", str(len(suite)))
            if report.remarks:
                ElementTree.SubElement(suite, "system-out").text = "\n".join(report.remarks)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _write(path: Path, content: bytes) -> None:
    files.make_folder(path.parent)
    with files.atomic(path) as partial:
        partial.write_bytes(content)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.teaching.grading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, help="folders of what was handed in")
    parser.add_argument("--seed", type=int, default=0, help="checks draw their inputs from it")
    parser.add_argument("--csv", type=Path, help="write one row for each student into this file")
    parser.add_argument("--junit", type=Path, help="also write this JUnit XML file")
    parser.add_argument(
        "--seconds",
        type=float,
        default=60,
        help="time limit of an answer and of a check; the lesson's own cells get ten times as long",
    )
    parser.add_argument("--memory", type=float, default=4, help="GB for a notebook (Linux)")
    parser.add_argument("--notebooks", type=Path, default=SERIES, help="the official ones")
    return parser


def _refuse_bad_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Before an hour of grading."""
    for path in options.paths:
        if not path.exists():
            parser.error(f"{path} does not exist")
    for name in ("seconds", "memory"):
        if not 0 < getattr(options, name) < math.inf:
            parser.error(f"--{name} must be above 0, not {getattr(options, name)}")
    if not any(options.notebooks.glob("*.ipynb")):
        parser.error(f"--notebooks {options.notebooks} holds no notebook")
    for path in filter(None, (options.csv, options.junit)):
        try:
            files.make_folder(path.parent)
        except OSError as error:
            parser.error(str(error))
        if path.is_dir():
            parser.error(f"{path} is a folder: name a file")


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns 1 if a lesson could not be run, else 0, whatever was handed in."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _refuse_bad_options(parser, options)
    outputs = [path for path in (options.csv, options.junit) if path]
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    students = submission.by_student(options.paths, but_not=outputs)
    if not students:
        parser.error("there is nothing in " + ", ".join(map(str, options.paths)))
    if not sys.platform.startswith("linux"):
        print("This system has no limit on memory: watch what the answers take.")

    limits = Limits(options.seconds, options.memory)
    graded: dict[str, list[Report]] = {}
    for k, (student, paths) in enumerate(students.items(), start=1):
        reports = grade_student(paths, options.seed, limits, options.notebooks)
        graded[student] = reports or [Report(student, error="no file was handed in")]
        print(f"{lines(student, graded[student])}  ({k} of {len(students)})", flush=True)

    print(summary(graded))
    if options.csv:
        _write(options.csv, marks_table(graded).encode(errors="backslashreplace"))
    if options.junit:
        _write(options.junit, junit(graded))
    results = [row for reports in graded.values() for report in reports for row in report.results]
    return int(any(row.state == ERROR for row in results))


def summary(graded: dict[str, list[Report]]) -> str:
    """The last line of each student."""
    return "\n".join(
        ["", *(lines(name, reports).splitlines()[-1] for name, reports in graded.items())]
    )


if __name__ == "__main__":
    sys.exit(main())
