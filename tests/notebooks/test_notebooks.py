"""The house rules of the notebooks. That they run is nbval's to show, also in plain `pytest`."""

import json
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbconvert import SlidesExporter
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
KINDS = {"exercise", "check"}
FORBIDDEN = [
    r"^\s*[!%]",
    r"sys\.path",
    r"\bpip\b",
    r"filterwarnings|simplefilter",
    r"plt\.show\(",
    r"subprocess|os\.system",
    r"import \*",
    r"[\"']/(?:home|tmp|root|work|Users)/",
]


def load(path: Path):
    return nbformat.read(path, as_version=4)


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def lesson(notebook) -> list:
    """The cells without those of exercises and quiz, which have tests of their own."""
    asked = re.compile(
        r"\*\*(?:Exercise \d|Open task)|passed, otherwise|^## (?:Exercises|Quiz)", re.M
    )
    return [
        cell
        for cell in notebook.cells
        if not tags(cell) & {"exercise", "check", "solution", "quiz"}
        and not (cell.cell_type == "markdown" and asked.search(cell.source))
    ]


def test_the_series_is_complete_and_in_order():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{i:02d}" for i in range(len(NOTEBOOKS))]
    assert len(NOTEBOOKS) >= 9


every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@every_notebook
def test_opens_with_what_the_reader_needs_and_closes_with_what_was_learned(path):
    texts = prose(load(path))
    number = path.name[:2]
    assert texts[0].startswith(f"# {number}. ")
    for lead in ("What you will do", "What you will learn", "What you need", "Time"):
        assert f"**{lead}**" in texts[0], lead
    assert re.search(r"about [\d.]+ (?:minutes?|seconds) on 2 CPU cores", texts[0])
    headings = [line for text in texts for line in text.splitlines() if line.startswith("## ")]
    ending = ["## Summary", "## Quiz", "## Solutions"]
    if number == "08":  # the clinic is one long exercise
        ending.pop()
    if "## Exercises" in headings:
        ending.insert(1, "## Exercises")
    assert headings[-len(ending) :] == ending
    following = FOLDER / re.search(r"\]\(([^)]+)\)\s*$", texts[-1]).group(1)
    expected = {p.name[:2]: p for p in NOTEBOOKS}.get(
        f"{int(number) + 1:02d}", FOLDER / "../README.md"
    )
    assert following.resolve() == expected.resolve()


@every_notebook
def test_each_objective_has_its_exercise(path):
    texts = prose(load(path))
    objectives = re.findall(r"^  (\d)\. ", texts[0], re.M)
    exercises = re.findall(r"\*\*Exercise (\d):", "\n".join(texts))
    assert exercises == ([] if path.name[:2] in ("00", "08") else objectives)
    assert objectives == [str(k) for k in range(1, len(objectives) + 1)]


@every_notebook
def test_solutions_stand_closed_at_the_end(path):
    """Behind the quiz, one for each exercise, and nowhere else."""
    cells = load(path).cells
    solutions = [cell for cell in cells if "solution" in tags(cell)]
    if path.name[:2] == "08":
        assert not solutions
        return
    assert cells[-1 - len(solutions) : -1] == solutions
    folded = r"<details><summary>Exercise \d: [^<]+</summary>\n\n.*\n\n</details>"
    assert all(re.fullmatch(folded, cell.source, re.DOTALL) for cell in solutions[1:])
    asked = [cell.metadata.exercise for cell in cells if "exercise" in tags(cell)]
    if path.name[:2] != "00":
        assert [cell.metadata.exercise for cell in solutions[1:]] == asked


@every_notebook
def test_exercises_say_what_they_ask_for_and_help_a_blank_start(path):
    """Difficulty, importance and minutes; where one is stuck, one step and then another."""
    cells = load(path).cells
    for before, cell in pairwise(cells):
        if "exercise" in tags(cell):
            kind = r"\*Difficulty [1-5] of 5, importance [1-5] of 5, \d+( to \d+)? minutes\.\*"
            assert len(re.findall(kind, before.source)) == 1, cell.source
            assert len(re.findall("<summary>(?:I am|Still) stuck", before.source)) == 2, cell.source


@every_notebook
def test_cells_are_short_and_explained(path):
    notebook = load(path)
    assert 10 <= len(lesson(notebook)) <= 66
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "code" and not tags(cell) & {"check", "quiz"}:
            assert before.cell_type == "markdown", f"no text before: {cell.source[:60]}"
    for cell in code(notebook):
        assert len([line for line in cell.source.splitlines() if line.strip()]) <= 25, cell.source[
            :60
        ]
    imports = [
        i
        for i, cell in enumerate(code(notebook))
        if re.search(r"^(?:import|from) ", cell.source, re.M)
    ]
    assert imports == [0], "all imports stand in the first code cell"
    assert re.search(r"^[A-Z][A-Z_0-9]+ = ", code(notebook)[1].source, re.M), (
        "constants stand in the second"
    )


@every_notebook
def test_has_no_forbidden_line(path):
    for cell in code(load(path)):
        for pattern in FORBIDDEN:
            assert not re.search(pattern, cell.source, re.M), f"{pattern} in {cell.source[:80]}"


@every_notebook
def test_outputs_are_one_clean_run_on_the_synthetic_pets(path):
    notebook = load(path)
    assert [cell.execution_count for cell in code(notebook)] == list(
        range(1, len(code(notebook)) + 1)
    )
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert not [
        output
        for output in outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]
    text = json.dumps(notebook)
    assert "widget-view" not in text, (
        "a widget shows an error without its kernel; its picture or text must stand alone"
    )
    assert "Dataset: Oxford" not in text, "an output was made with photographs"
    assert not any("execution" in cell.metadata for cell in notebook.cells), "timestamps"
    assert path.stat().st_size < 3e6


@every_notebook
def test_pictures_have_alt_text(path):
    """Also those of explorers, and none that a notebook would show without it."""
    shown = [output.get("data", {}) for cell in code(load(path)) for output in cell.outputs]
    bare = [data for data in shown if any(kind.startswith("image/") for kind in data)]
    texts = re.findall(r"<img([^>]*)>", "".join(data.get("text/html", "") for data in shown))
    assert not bare and len(texts) >= 3
    for text in texts:
        assert len(re.search(r'alt="([^"]*)"', text)[1]) > 30, text[:80]


@every_notebook
def test_cells_to_compare_have_something_to_compare(path):
    for cell in filter(is_exact, code(load(path))):
        assert cell.outputs and cell.execution_count, cell.source[:60]


def test_exact_cells_are_compared():
    """In each lesson that computes something which is the same everywhere."""
    tagged = {path.name[:2] for path in NOTEBOOKS for cell in code(load(path)) if is_exact(cell)}
    assert tagged >= {"02", "03", "04", "05"}


def is_exact(cell) -> bool:
    return "nbval-check-output" in tags(cell)


@every_notebook
def test_links_lead_somewhere(path):
    for text in prose(load(path)):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (path.parent / target).exists(), target


@every_notebook
def test_cells_marked_for_slides_make_a_lecture(path):
    """The command of TEACHING.md: a slide for each mark, no exercise on it, plot code hidden."""
    notebook = load(path)
    kinds = [cell.metadata.slideshow.slide_type for cell in notebook.cells]
    assert set(kinds) <= {"slide", "fragment", "skip"} and kinds[0] == "slide"
    for cell, kind in zip(notebook.cells, kinds, strict=True):
        assert kind == "skip" or not tags(cell) & {"exercise", "check", "quiz"}
    settings = Config()
    settings.TagRemovePreprocessor.remove_input_tags = {"plot"}
    html, _ = SlidesExporter(config=settings).from_notebook_node(notebook)
    shown = html.count("<section>") // 2  # reveal.js nests them
    assert 6 <= shown == kinds.count("slide") <= 20
    plots = [cell for cell in code(notebook) if "plot" in tags(cell)]
    assert all("plt." in cell.source for cell in plots)
    shown_code = [cell for cell in code(notebook) if cell.metadata.slideshow.slide_type != "skip"]
    assert html.count('<div class="jp-CodeMirrorEditor') == len(shown_code) - len(plots)


@every_notebook
def test_exercises_are_marked_for_the_grader(path):
    """An exercise and its check carry the same number, in the order of the text."""
    cells = code(load(path))
    numbers = [(c.metadata.get("exercise"), kind) for c in cells for kind in KINDS & tags(c)]
    exercises = [number for number, kind in numbers if kind == "exercise"]
    assert exercises == [f"{path.name[:2]}.{k + 1}" for k in range(len(exercises))]
    assert [number for number, kind in numbers if kind == "check"] == exercises


@every_notebook
def test_one_task_is_open_and_has_a_rubric(path):
    """No check and no solution: how long it takes and what a good answer has is said beside it."""
    tasks = [text for text in prose(load(path)) if "**Open task" in text]
    assert len(tasks) == (0 if path.name[:2] in ("00", "08") else 1)
    for task in tasks:
        kind = r"\*\*Open task: .+\*\* \*Difficulty \d of 5, importance \d of 5; about \d+ min"
        assert re.search(kind, task)
        rubric = task.partition("<details><summary>Rubric</summary>")[2]
        assert rubric.count("\n- ") >= 3


def test_minutes_of_people_add_up():
    """What a lesson states is the sum of its parts, here, in README and on the lecturers' page."""
    pages = [
        (FOLDER / name).read_text(encoding="utf-8") for name in ("../README.md", "TEACHING.md")
    ]
    for path in NOTEBOOKS:
        text = "\n".join(prose(load(path)))
        parts = re.search(r"(\d+) minutes to read, (\d+) for the exercises, 5 for the quiz", text)
        if path.name[:2] in ("00", "08"):
            assert not parts
            continue
        read, exercises = map(int, parts.groups())
        assert exercises == sum(map(int, re.findall(r"importance \d of 5, (\d+)", text)))
        for page in pages:
            (row,) = re.findall(rf"(?m)^\| {path.name[:2]} .*$", page.split("## One day")[0])
            assert f"| {read + exercises + 5} min |" in row


def test_plans_of_the_lecturers_page_add_up():
    page = (FOLDER / "TEACHING.md").read_text(encoding="utf-8")
    day, evenings, rest = re.split("## Three evenings|## Six weeks", page.split("## One day")[1])
    at = 9 * 60
    for hour, minute, minutes in re.findall(r"(?m)^\| (\d+):(\d+) \| (\d+) \|", day):
        assert at == 60 * int(hour) + int(minute)
        at += int(minutes)
    assert at == 17 * 60 and "06:" in day and "07 " in day

    lengths = [0]
    for number, minutes in re.findall(r"(?m)^\| (\d?) ?\| (\d+) \|", evenings):
        if number:
            lengths.append(0)
        lengths[-1] += int(minutes)
    assert lengths == [0, 180, 180, 180]
    weeks = re.findall(r"(?m)^\| \d \| [^|]+ \| ([\d +]+) \|", rest.split("## Misconceptions")[0])
    assert [sum(map(int, week.split("+"))) for week in weeks] == [90] * 6


def test_misconceptions_name_sections_that_are_there():
    page = (FOLDER / "TEACHING.md").read_text(encoding="utf-8")
    rows = re.findall(r'(?m)^\| (\d\d) \|.*\| "([^"|]+)" \|', page.split("## Misconceptions")[1])
    assert {number for number, _ in rows} == {path.name[:2] for path in NOTEBOOKS}
    for number, heading in rows:
        text = "\n".join(prose(load(next(p for p in NOTEBOOKS if p.name[:2] == number))))
        assert re.search(rf"(?m)^##+ {re.escape(heading)}$", text), heading
