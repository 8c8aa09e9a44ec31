"""The notebooks without solutions and outputs, to hand out, and the key to them:

python -m helpers.teaching student --out FOLDER
python -m helpers.teaching key --out FILE.md
"""

import argparse
import copy
import re
from collections.abc import Sequence
from pathlib import Path

from helpers import files
from helpers.teaching import SERIES
from helpers.teaching.quiz import read_quiz

import nbformat
from nbformat import NotebookNode


def student_edition(notebook: NotebookNode) -> NotebookNode:
    """A copy of a notebook without its solutions, and without outputs, which give some away."""
    edition = copy.deepcopy(notebook)
    edition.cells = [cell for cell in edition.cells if not _is_solution(cell)]
    for cell in edition.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return edition


def with_solutions(edition: NotebookNode, official: NotebookNode) -> NotebookNode:
    """A copy of a student edition with the official solutions: the lecturer's edition, to run."""
    whole = copy.deepcopy(edition)
    whole.cells[-1:-1] = copy.deepcopy([cell for cell in official.cells if _is_solution(cell)])
    return whole


def _is_solution(cell: NotebookNode) -> bool:
    return "solution" in cell.metadata.get("tags", [])


def write_student_edition(folder: Path, notebooks: Path = SERIES) -> list[Path]:
    """Write the student edition of all notebooks into a folder. Returns the files.

    Raises FileExistsError if one of them is there already: it may hold somebody's answers.
    """
    sources = sorted(notebooks.glob("*.ipynb"))
    targets = [folder / source.name for source in sources]
    for target in targets:
        if target.exists():
            raise FileExistsError(f"{target} is there already: name an empty folder")

    files.make_folder(folder)
    for source, target in zip(sources, targets, strict=True):
        edition = student_edition(nbformat.read(source, as_version=4))
        with files.atomic(target) as partial:
            nbformat.write(edition, partial)
    return targets


def answer_key(notebooks: Path = SERIES) -> str:
    """All solutions, and the right letters of all quizzes, as Markdown."""
    parts = ["# Answer key"]
    for path in sorted(notebooks.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        parts.append("#" + cells[0].source.splitlines()[0])
        parts += [
            re.sub(r"</?details>", "", cell.source)
            .replace("<summary>", "### ")
            .replace("</summary>", "")
            .strip()
            for cell in cells
            if _is_solution(cell) and not cell.source.startswith("## Solutions")
        ]
        questions = read_quiz(path.name[:2])
        letters = " ".join(f"{k}{question.answer}" for k, question in enumerate(questions, start=1))
        parts.append(f"### Quiz\n\n{letters}")
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.teaching",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["student", "key"])
    parser.add_argument("--out", type=Path, required=True, help="a folder, empty or new; a file")
    options = parser.parse_args(arguments)

    try:
        if options.what == "key":
            files.make_folder(options.out.parent)
            with files.atomic(options.out) as partial:
                partial.write_text(answer_key(), encoding="utf-8")
            print(f"solutions and quizzes in {options.out}")
        else:
            written = write_student_edition(options.out)
            print(f"{len(written)} notebooks in {options.out}")
    except OSError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
