"""The quiz at the end of a notebook, as a form. Its questions stand in the notebook, to be read without running."""

import re
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
import mistune
import nbformat

OPTION = re.compile(r"^- \*\*([a-f])\*\* (.*)$", re.MULTILINE)
QUESTION = re.compile(
    r"^\*\*Question \d+\.\*\* (?P<text>.*?) (?P<how>Choose one\.|Choose all that apply\.)$(?P<options>.*?)"
    r"<details><summary>Answer</summary>(?P<answers>.*?)</details>",
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
    """A question with its options, of which one or several are right."""

    text: str
    options: list[Option]

    @property
    def single(self) -> bool:
        return sum(option.right for option in self.options) == 1


def read_quiz(path: str | Path) -> list[Question]:
    """The questions below "## Quiz" in a notebook.

    Raises ValueError that names the question whose options and answers do not fit together.
    """
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown").partition(
        "## Quiz\n"
    )[2]
    questions = []
    for match in QUESTION.finditer(text):
        options, answers = OPTION.findall(match["options"]), OPTION.findall(match["answers"])
        verdicts = [re.match(r"(Right|Wrong)\. (.+)", answer) for _, answer in answers]
        if (
            not options
            or [key for key, _ in options] != [key for key, _ in answers]
            or None in verdicts
        ):
            raise ValueError(
                f"{path}, {match['text']!r}: each option needs an answer that begins with Right. or Wrong."
            )
        pairs = zip(options, verdicts, strict=True)
        question = Question(
            match["text"], [Option(o, v[1] == "Right", v[2]) for (_, o), v in pairs]
        )
        if question.single != (match["how"] == "Choose one.") or not any(
            o.right for o in question.options
        ):
            raise ValueError(f"{path}, {match['text']!r}: {match['how']} does not fit its answers")
        questions.append(question)
    if len(questions) != text.count("**Question "):
        raise ValueError(
            f"{path}: {text.count('**Question ')} questions, of which {len(questions)} can be read"
        )
    return questions


class Quiz(widgets.VBox):
    """Questions as forms; saved without a kernel, a line of text."""

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        return dict(super()._repr_mimebundle_(**options)) | {
            "text/plain": "Run this cell to answer the quiz."
        }


def quiz(path: str | Path) -> Quiz:
    """A form for the quiz of a notebook: choose, press the button, and read about each option that you chose."""
    return Quiz([_form(k, question) for k, question in enumerate(read_quiz(path), start=1)])


def _form(number: int, question: Question) -> widgets.VBox:
    how = "Choose one." if question.single else "Choose all that apply."
    head = widgets.HTML(f"<b>Question {number}.</b> {_html(question.text)} {how}")
    boxes = [
        widgets.Checkbox(description=_plain(option.text), indent=False, layout={"width": "auto"})
        for option in question.options
    ]  # for single answers, too: JupyterLab keeps the arrow keys of radio buttons for itself
    button = widgets.Button(description=f"Check {number}")
    feedback = widgets.HTML()

    def check(_button: widgets.Button) -> None:
        chosen = [option for option, box in zip(question.options, boxes, strict=True) if box.value]
        lines = [
            f"{'✓ Right' if o.right else '✗ Wrong'}: <i>{_html(o.text)}</i> {_html(o.why)}"
            for o in chosen
        ]
        if not chosen:
            lines = ["Choose something first."]
        elif all(o.right for o in chosen) and len(chosen) < sum(o.right for o in question.options):
            lines.append("There is more that is right.")
        feedback.value = "".join(f"<div>{line}</div>" for line in lines)

    button.on_click(check)
    return widgets.VBox([head, *boxes, button, feedback])


def _html(text: str) -> str:
    return mistune.html(text).strip().removeprefix("<p>").removesuffix("</p>")


def _plain(text: str) -> str:
    return re.sub(r"[`*]", "", text)
