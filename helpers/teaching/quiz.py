"""The quiz at the end of a notebook, as a form.

Its questions stand in the notebook, to be read without running.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from helpers.teaching import SERIES

import ipywidgets as widgets
import mistune
import nbformat

OPTION = re.compile(r"^- \*\*([a-f])\*\* (.+)$", re.MULTILINE)
ANSWER = re.compile(r"^- \*\*([a-f])\*\* (Right|Wrong)\. (.+)$", re.MULTILINE)
QUESTION = re.compile(
    r"^\*\*Question \d+\.\*\* (?P<text>.*? Choose (?:one|all that apply)\.)$"
    r"(?P<options>.*?)<details><summary>Answer</summary>(?P<answers>.*?)</details>",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Option:
    """An answer to choose, and why it is right or wrong."""

    text: str
    right: bool
    why: str


@dataclass(frozen=True)
class Question:
    """A question, which ends in "Choose one." or "Choose all that apply.", and its options."""

    text: str
    options: list[Option]


def read_quiz(path: str | Path) -> list[Question]:
    """The questions below "## Quiz" in a notebook, looked for here and among the series' own.

    Raises ValueError that names the question whose options and answers do not fit together.
    """
    path = Path(path) if Path(path).is_file() else SERIES / path
    cells = nbformat.read(path, as_version=4).cells
    texts = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    text = texts.partition("## Quiz\n")[2]

    questions = [_question(match, path) for match in QUESTION.finditer(text)]
    if len(questions) != (stated := text.count("**Question ")):
        raise ValueError(f"{path}: {stated} questions, of which {len(questions)} can be read")
    return questions


def _question(match: re.Match, path: Path) -> Question:
    text, where = match["text"], f"{path}, {match['text']!r}"
    options = OPTION.findall(match["options"])
    answers = ANSWER.findall(match["answers"])
    if not options or [key for key, _ in options] != [key for key, *_ in answers]:
        raise ValueError(f"{where}: each option needs an answer that begins with Right. or Wrong.")

    pairs = zip(options, answers, strict=True)
    found = [Option(option, verdict == "Right", why) for (_, option), (_, verdict, why) in pairs]
    right = sum(option.right for option in found)
    if not right or (right == 1) != text.endswith("Choose one."):
        raise ValueError(f"{where}: {right} right answers do not fit the question")
    return Question(text, found)


class Quiz(widgets.VBox):
    """Questions as forms; saved without a kernel, a line of text."""

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        shown = {"text/plain": "Run this cell to answer the quiz."}
        return dict(super()._repr_mimebundle_(**options)) | shown


def quiz(path: str | Path) -> Quiz:
    """A form for the quiz of a notebook: choose, press the button, read about what you chose."""
    return Quiz([_form(k, question) for k, question in enumerate(read_quiz(path), start=1)])


def _form(number: int, question: Question) -> widgets.VBox:
    head = widgets.HTML(f"<b>Question {number}.</b> {_html(question.text)}")

    # Boxes for single answers, too: JupyterLab keeps the arrow keys of radio buttons for itself.
    boxes = [
        widgets.Checkbox(
            description=re.sub("[`*]", "", option.text), indent=False, layout={"width": "auto"}
        )
        for option in question.options
    ]
    button = widgets.Button(description=f"Check {number}")
    feedback = widgets.HTML()
    right = sum(option.right for option in question.options)

    def check(_button: widgets.Button) -> None:
        chosen = [option for option, box in zip(question.options, boxes, strict=True) if box.value]
        lines = [
            f"{'✓ Right' if option.right else '✗ Wrong'}: <i>{_html(option.text)}</i>"
            f" {_html(option.why)}"
            for option in chosen
        ]
        if not chosen:
            lines = ["Choose something first."]
        elif all(option.right for option in chosen) and len(chosen) < right:
            lines.append("There is more that is right.")
        feedback.value = "".join(f"<div>{line}</div>" for line in lines)

    button.on_click(check)
    return widgets.VBox([head, *boxes, button, feedback])


def _html(text: str) -> str:
    return str(mistune.html(text)).strip().removeprefix("<p>").removesuffix("</p>")
