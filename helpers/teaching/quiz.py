"""The quiz at the end of a notebook: a form that explains each choice.

The questions stand in `quizzes/NN.md`, each option with its verdict. A notebook shows them without
the verdicts, and so does what is saved of it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

from helpers import files
from helpers.teaching import mine

import ipywidgets as widgets
import mistune

QUIZZES = Path(__file__).parent / "quizzes"
LETTERS = "abcdef"
ONE, ALL = "Choose one.", "Choose all that apply."
HEADING = re.compile(r"^## Question (\d+)(?:, from notebook (\d\d))?$", re.MULTILINE)
OPTION = re.compile(r"^- \*\*([a-f])\*\* (\S.*)\n  - (Right|Wrong)\. (\S.*)$", re.MULTILINE)
PART = re.compile(r"(\d+)([a-f]+)")
# Else a label that is wider than the window ends in dots.
WRAP = "<style>.quiz .widget-checkbox label { white-space: normal; line-height: 1.5 }</style>"


@dataclass(frozen=True)
class Option:
    """An answer to choose, and why it is right or wrong."""

    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Question:
    """A question, which ends in "Choose one." or "Choose all that apply.", and its options.

    `source` is the notebook that taught what is asked, where it is an earlier one: "02".
    """

    text: str
    options: tuple[Option, ...]
    source: str = ""

    @property
    def answer(self) -> str:
        """The letters of what is right."""
        return "".join(
            letter for letter, option in zip(LETTERS, self.options, strict=False) if option.right
        )


def read_quiz(number: str, folder: Path | None = None) -> list[Question]:
    """The questions of a notebook, such as "05".

    Raises FileNotFoundError where that notebook has no quiz, and ValueError that names the question
    whose parts do not fit together.
    """
    path = (folder or QUIZZES) / f"{number}.md"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.md")))
        raise FileNotFoundError(f"no quiz {number!r}: there are {known}")

    _title, *parts = HEADING.split(path.read_text(encoding="utf-8"))
    stated = [int(k) for k in parts[::3]]
    if not stated or stated != list(range(1, len(stated) + 1)):
        raise ValueError(f"{path.name}: the questions are numbered {stated}")
    sections = zip(stated, parts[1::3], parts[2::3], strict=True)
    return [_question(f"{path.name}, question {k}", text, source) for k, source, text in sections]


def _question(where: str, section: str, source: str | None) -> Question:
    """A question from its section, below the heading. Raises ValueError that begins with where."""
    text, _, rest = section.strip().partition("\n\n")
    if not text.endswith((ONE, ALL)):
        raise ValueError(f"{where}: its text must end in {ONE!r} or {ALL!r}")

    # Whatever is no option, or an option without its verdict, is left over.
    found = OPTION.findall(rest)
    if left := OPTION.sub("", rest).strip():
        line = left.splitlines()[0]
        raise ValueError(
            f"{where}: an option and a line '  - Right.' or '  - Wrong.', not {line!r}"
        )
    if len(found) < 3 or [letter for letter, *_ in found] != list(LETTERS[: len(found)]):
        raise ValueError(f"{where}: three options or more, from a on, in order")

    options = tuple(Option(option, verdict == "Right", why) for _, option, verdict, why in found)
    right = sum(option.right for option in options)
    if not right or (right == 1) != text.endswith(ONE):
        raise ValueError(
            f"{where}: {right} right options do not fit {text[text.rindex('Choose') :]!r}"
        )
    return Question(text, options, source or "")


def read_choices(chosen: str, questions: list[Question]) -> dict[int, str]:
    """What was chosen: "1b 2ac" is {1: "b", 2: "ac"}.

    Raises ValueError that names the part which is malformed or fits no question.
    """
    choices: dict[int, str] = {}
    for part in chosen.split():
        if not (match := PART.fullmatch(part)):
            raise ValueError(f"{part!r} is no choice: a question's number and letters, such as 2ac")
        number, letters = int(match[1]), "".join(sorted(match[2]))
        if not 1 <= number <= len(questions):
            raise ValueError(f"{part!r}: there are questions 1 to {len(questions)}")

        question = questions[number - 1]
        offered = LETTERS[: len(question.options)]
        if len(set(letters)) < len(letters) or not set(letters) <= set(offered):
            raise ValueError(f"{part!r}: question {number} has {', '.join(offered)}, each once")
        if question.text.endswith(ONE) and len(letters) > 1:
            raise ValueError(f"{part!r}: question {number} asks for one")
        if number in choices:
            raise ValueError(f"{part!r}: question {number} was answered before")
        choices[number] = letters
    return choices


def write_choices(choices: Mapping[int, str]) -> str:
    """What `read_choices` reads."""
    return " ".join(f"{number}{letters}" for number, letters in sorted(choices.items()) if letters)


def quiz(number: str, chosen: str = "") -> "Quiz":
    """A form for the quiz of a notebook: choose, press the button, read about what you chose.

    Args:
        number: of the notebook, such as "05".
        chosen: answers to begin with, such as "1b 2ac". Without it, those that stood there at the
            last check on this computer.

    Raises ValueError that names the part of `chosen` which is malformed or fits no question.
    """
    questions = read_quiz(number)
    choices = read_choices(chosen, questions)
    form = Quiz(number, questions)
    if choices:
        form.choose(choices)
    else:
        form.restore()
    return form


class Quiz(widgets.VBox):
    """The questions of a notebook as forms; saved without a kernel, as text that holds no answer.

    What was chosen is kept in runs/mine/quiz-NN.json, at each check.
    """

    def __init__(self, number: str, questions: list[Question]) -> None:
        self.number, self.questions = number, questions
        self.path = mine.folder() / f"quiz-{number}.json"
        self.checked: dict[int, str] = {}
        self.forms = [Form(k, question) for k, question in enumerate(questions, start=1)]
        self.score, self.line = widgets.HTML(), widgets.HTML()

        for form in self.forms:
            form.button.on_click(lambda _, form=form: self.check(form))
            for box in form.boxes:
                box.observe(lambda _, form=form: self._chosen_anew(form), "value")
        super().__init__([widgets.HTML(WRAP), *self.forms, self.score, self.line])
        self.add_class("quiz")

    def choose(self, choices: Mapping[int, str]) -> None:
        """Choose, by numbers of questions and letters."""
        for number, letters in choices.items():
            self.forms[number - 1].chosen = letters

    def restore(self) -> None:
        """Choose what was chosen at the last check, and explain again what was checked."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            chosen = read_choices(kept["chosen"], self.questions)
            checked = read_choices(kept["checked"], self.questions)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # never written, or broken: begin without answers
        self.choose(chosen)

        # What was chosen anew after its check is not given away.
        for number, letters in checked.items():
            if chosen.get(number) == letters:
                self.checked[number] = self.forms[number - 1].explain()
        self._show_score()

    def _chosen_anew(self, form: "Form") -> None:
        """What was said about another choice, and its point, go; it can be checked again."""
        if self.checked.get(form.number, form.chosen) != form.chosen:
            del self.checked[form.number]
            form.feedback.value = ""
            self._show_score()
        self._show_line()

    def check(self, form: "Form") -> None:
        """Explain what is chosen in one form, and keep it."""
        self.checked[form.number] = form.explain()
        self._show_score(self._keep())

    def _chosen(self) -> str:
        return write_choices({form.number: form.chosen for form in self.forms})

    def _keep(self) -> str:
        """Write what is chosen and checked; returns a line that says so where that fails."""
        choices = {"chosen": self._chosen(), "checked": write_choices(self.checked)}
        try:
            files.make_folder(self.path.parent)
            with files.atomic(self.path) as partial:
                partial.write_text(json.dumps(choices) + "\n", encoding="utf-8")
        except OSError as error:
            return f"Your answers are not kept: {error}"
        return ""

    def _show_score(self, warning: str = "") -> None:
        right = sum(self.checked.get(form.number) == form.question.answer for form in self.forms)
        score = f"{right} of {len(self.forms)} right so far." if any(self.checked.values()) else ""
        self.score.value = f"<p><b>{score}</b> {escape(warning)}</p>"

    def _show_line(self) -> None:
        """The line that hands the quiz in, once something is chosen."""
        chosen = self._chosen()
        line = f'<p>To hand in: <code>quiz("{self.number}", "{chosen}")</code></p>'
        self.line.value = line if chosen else ""

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        return dict(super()._repr_mimebundle_(**options)) | static(self.questions)


class Form(widgets.VBox):
    """One question: its options as boxes to tick, a button, and what is said about the choice."""

    def __init__(self, number: int, question: Question) -> None:
        self.number, self.question = number, question

        # Boxes for one answer, too: JupyterLab keeps the arrow keys of radio buttons for itself.
        self.boxes = [
            widgets.Checkbox(
                description=f"{letter}: {_plain(option.text)}",
                indent=False,
                layout={"width": "auto", "height": "auto"},
            )
            for letter, option in zip(LETTERS, question.options, strict=False)
        ]
        self.button = widgets.Button(description=f"Check {number}")
        self.feedback = widgets.HTML()
        if question.text.endswith(ONE):
            for box in self.boxes:
                box.observe(self._choose_one, "value")
        head = widgets.HTML(_head(number, question))
        parts = [head, *self.boxes, self.button, self.feedback]
        super().__init__(parts, layout={"margin": "0 0 1em"})

    @property
    def chosen(self) -> str:
        """The letters of what is ticked."""
        ticked = zip(LETTERS, self.boxes, strict=False)
        return "".join(letter for letter, box in ticked if box.value)

    @chosen.setter
    def chosen(self, letters: str) -> None:
        for letter, box in zip(LETTERS, self.boxes, strict=False):
            box.value = letter in letters

    def _choose_one(self, change: Any) -> None:
        """A new tick takes the old one away."""
        if change.new:
            for box in self.boxes:
                box.value = box is change.owner

    def explain(self) -> str:
        """Say about each chosen option whether it is right, and why. Returns what is chosen."""
        chosen, answer = self.chosen, self.question.answer
        lines = []
        for letter in chosen:
            option = self.question.options[LETTERS.index(letter)]
            mark, verdict = ("✓", "Right") if option.right else ("✗", "Wrong")
            lines.append(f"{mark} {letter}: {verdict}. {_html(option.why)}")

        if not chosen:
            lines = ["Choose something first."]
        elif set(chosen) < set(answer):
            lines.append("There is more that is right.")
        self.feedback.value = "".join(f"<div>{line}</div>" for line in lines)
        return chosen


def static(questions: list[Question]) -> dict[str, str]:
    """What shows a quiz without a kernel: the questions with their options, and no answer."""
    html, plain = [], []
    for k, question in enumerate(questions, start=1):
        options = list(zip(LETTERS, question.options, strict=False))
        items = "".join(f"<li><b>{letter}</b> {_html(o.text)}</li>" for letter, o in options)
        html.append(f'<p>{_head(k, question)}</p>\n<ul style="list-style-type: none">{items}</ul>')
        lines = [_plain_text(_head(k, question)), *(f"  {x}: {_plain(o.text)}" for x, o in options)]
        plain.append("\n".join(lines))

    todo = "Run this cell to answer the quiz."
    return {
        "text/html": "\n".join([*html, f"<p><em>{todo}</em></p>"]),
        "text/plain": "\n\n".join([*plain, todo]),
    }


def _head(number: int, question: Question) -> str:
    """A question's number, where it comes from, and its text, as HTML."""
    source = f" <i>From notebook {question.source}.</i>" if question.source else ""
    return f"<b>Question {number}.</b>{source} {_html(question.text)}"


def _html(text: str) -> str:
    return str(mistune.html(text)).strip().removeprefix("<p>").removesuffix("</p>")


def _plain(text: str) -> str:
    """Markdown without its marks, for labels, which show no HTML."""
    return _plain_text(_html(text))


def _plain_text(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", html))
