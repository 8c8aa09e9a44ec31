"""What students hand in: whose it is, which notebook, which cells are answers, what was changed.

An exercise is found by its number in the metadata of its cells. Nothing here runs a student's code.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from helpers.teaching.watch import Step

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

LARGEST = 100 * 2**20  # bytes; the series' own notebooks have up to 3 MB

EDITED = "the check cell was edited"
BELOW = "an answer may stand in a new cell below the check"
SAVED_RIGHT = "the saved output says right, the answer is not"


def by_student(paths: Iterable[Path], but_not: Iterable[Path] = ()) -> dict[str, list[Path]]:
    """The files of each student: of a folder in a given folder, or of loose files with one name.

    Where a student has notebooks, other files do not count. Two students of one name, in two given
    folders, are told apart by these, and so are two loose notebooks.
    """
    left_out = {path.resolve() for path in but_not}
    paths = list(dict.fromkeys(paths))
    folders = [path for path in paths if path.is_dir()]
    inner = Counter(entry.name for path in folders for entry in path.iterdir() if entry.is_dir())
    loose = [f for p in paths for f in (p.glob("*.ipynb") if p.is_dir() else [p]) if f.is_file()]
    stems = Counter(file.stem for file in loose if file.suffix == ".ipynb")
    found: dict[str, list[Path]] = {}
    for path in paths:
        for entry in sorted(path.iterdir()) if path.is_dir() else [path]:
            name = entry.name if entry.is_dir() else entry.stem
            several = inner[name] if entry.is_dir() else stems[name]
            name = entry.as_posix() if several > 1 else name
            inside = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
            above = path if path.is_dir() else path.parent
            files = [f for f in inside if f.is_file() and not _is_hidden(f.relative_to(above))]
            files = [f for f in files if f.resolve() not in left_out]
            if not _is_hidden(Path(entry.name)) and (files or entry.is_dir()):
                found.setdefault(name, []).extend(files)

    notebooks = {name: [f for f in files if f.suffix == ".ipynb"] for name, files in found.items()}
    return {name: notebooks[name] or files for name, files in found.items()}


def _is_hidden(path: Path) -> bool:
    """Whether it is left by Jupyter, macOS or the like."""
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in path.parts)


def read(path: Path) -> NotebookNode:
    """A student's notebook. Raises ValueError that says what is wrong with the file."""
    if path.suffix != ".ipynb":
        raise ValueError(f"{path.name} is no notebook: ask for the .ipynb file")
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"{path.name} is empty: ask for it again")
    if size > LARGEST:
        raise ValueError(f"{path.name} has {size / 2**20:.0f} MB: clear its outputs first")
    try:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            tags = cell.metadata.get("tags", [])
            assert isinstance(cell.source, str) and isinstance(tags, list)
            assert isinstance(cell.metadata.get("exercise", ""), str)
    except Exception as error:
        raise ValueError(
            f"{path.name} cannot be read as a notebook ({type(error).__name__}): ask for it again"
        ) from error
    return notebook


def official_path(path: Path, student: NotebookNode, folder: Path) -> Path:
    """Our copy of a student's notebook, found by the number in its title.

    Raises ValueError if there is none, or if it has none of our exercises.
    """
    text = "\n".join(cell.source for cell in student.cells if cell.cell_type == "markdown")
    title = re.search(r"^# (\d\d)\. ", text, re.MULTILINE)
    found = sorted(folder.glob(f"{title[1]}_*.ipynb")) if title else []
    if not found:
        raise ValueError(
            f"{path.name} is no notebook of this series: its title should begin with a number, as"
            " in '# 03. '"
        )

    ours = {number(cell) for cell in nbformat.read(found[0], as_version=4).cells} - {""}
    theirs = {number(cell) for cell in student.cells} - {""}
    if ours and not theirs:
        raise ValueError(
            f"{path.name} has no cell with the number of an exercise in its metadata: it was filled"
            " in with edition 0.2, or by a program that drops metadata, or is of another series."
            f" Grade it with edition 0.2, or copy the answers into this edition's {found[0].name}"
        )
    if theirs - ours:
        raise ValueError(
            f"{path.name} is of another edition: {found[0].name} has no exercise"
            f" {', '.join(sorted(theirs - ours))}. Copy the answers into this edition's"
        )
    return found[0]


def answers(student: NotebookNode, official: NotebookNode) -> dict[str, list[Step]]:
    """By exercise: its cell, and the code that the student added since the check before."""
    ours = {cell.id: cell.source for cell in official.cells}
    found: dict[str, list[Step]] = {}
    added: list[Step] = []

    for cell in student.cells:
        exercise = number(cell)
        if has(cell, "exercise"):
            found[exercise] = [*found.get(exercise, []), *added, Step("answer", "", cell.source)]
            added = found[exercise]  # what is added below the answer belongs to it, too
        elif exercise:
            is_new = added and all(step.kind == "added" for step in added)
            if exercise not in found and is_new:  # the cell of the answer is gone
                found[exercise] = [*added[:-1], Step("answer", "", added[-1].source)]
            added = []  # a check: what follows belongs to the next exercise
        elif cell.cell_type == "code":
            source = "" if cell.source in ours.values() else cell.source
            if source and cell.get("id") in ours:
                source = _definitions(source, ours[cell.id])
            added += [Step("added", "", source)] if source else []
    return {n: [Step(s.kind, n, s.source) for s in steps] for n, steps in found.items()}


def _definitions(source: str, official: str) -> str:
    """Imports, functions, classes and constants that a student wrote into a cell of the lesson.

    A constant is a name that the cell did not set, with a value that is written out.
    """
    try:
        ours = ast.parse(_without_magics(official))
        parts = ast.parse(_without_magics(source)).body
    except (SyntaxError, ValueError):
        return ""  # it is broken
    known = {ast.dump(part) for part in ours.body}
    names = {n.id for n in ast.walk(ours) if isinstance(n, ast.Name)}
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef
    new = [
        part
        for part in parts
        if (isinstance(part, kinds) or _is_constant(part, names)) and ast.dump(part) not in known
    ]
    return "\n\n".join(map(ast.unparse, new))


def _without_magics(source: str) -> str:
    """A cell as Python: `%matplotlib inline` and `!ls` become calls."""
    return TransformerManager().transform_cell(source)


def _is_constant(part: ast.stmt, known: set[str]) -> bool:
    if not isinstance(part, ast.Assign):
        return False
    try:
        ast.literal_eval(part.value)
    except (ValueError, TypeError, RecursionError):  # such as {[]: 1}
        return False
    return all(isinstance(t, ast.Name) and t.id not in known for t in part.targets)


def steps(official: NotebookNode, answers: dict[str, list[Step]]) -> list[Step]:
    """The official notebook with a student's answers; what is long or a quiz is left out."""
    found = []
    for cell in official.cells:
        if cell.cell_type != "code" or has(cell, "long") or has(cell, "quiz"):
            continue
        if has(cell, "exercise"):
            found += answers.get(number(cell), [])
        elif not has(cell, "check"):
            found.append(Step("lesson", "", cell.source))
        elif number(cell) in answers:
            found.append(Step("check", number(cell), cell.source))
    return found


def given(official: NotebookNode) -> list[str]:
    """Names that checks get and exercises do not define: the lesson's."""
    defined: set[str] = set()
    asked: set[str] = set()
    for cell in official.cells:
        if has(cell, "exercise"):
            defined |= _names_set(cell.source)
        if has(cell, "check"):
            asked |= {node.id for node in nodes(cell.source) if isinstance(node, ast.Name)}
    return sorted(asked - defined - {"check"})


def edited_checks(student: NotebookNode, official: NotebookNode) -> set[str]:
    """The exercises whose check cell does something else than ours; comments do not count."""
    ours = {number(cell): cell.source for cell in official.cells if has(cell, "check")}
    theirs = [cell for cell in student.cells if has(cell, "check") and number(cell) in ours]
    return {number(c) for c in theirs if not _same_code(c.source, ours[number(c)])}


def _same_code(one: str, other: str) -> bool:
    try:
        return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    except (SyntaxError, ValueError):
        return False


def answered_below(student: NotebookNode, official: NotebookNode) -> set[str]:
    """The exercises whose name is set in a cell that the student added below the check."""
    ours = {cell.source for cell in official.cells}
    asked: dict[str, str] = {}  # the name that a check takes first, and its exercise
    found = set()
    for cell in student.cells:
        if has(cell, "check"):
            calls = [node for node in nodes(cell.source) if isinstance(node, ast.Call)]
            firsts = [call.args[0] for call in calls if call.args]
            asked |= {first.id: number(cell) for first in firsts if isinstance(first, ast.Name)}
        elif cell.cell_type == "code" and not number(cell) and cell.source not in ours:
            found |= {asked[name] for name in _names_set(cell.source) & asked.keys()}
    return found


def _names_set(source: str) -> set[str]:
    """The names that a cell sets, of functions, classes and values."""
    found = nodes(source)
    names = {node.name for node in found if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    values = [node for node in found if isinstance(node, ast.Name)]
    return names | {node.id for node in values if isinstance(node.ctx, ast.Store)}


def nodes(source: str) -> list[ast.AST]:
    """All parts of a cell's code, none of a broken one's."""
    try:
        return list(ast.walk(ast.parse(_without_magics(source))))
    except (SyntaxError, ValueError, RecursionError):
        return []


def saved_as_right(student: NotebookNode) -> set[str]:
    """The exercises whose saved output says that the answer is right."""
    found = set()
    for cell in student.cells:
        texts = [str(output.get("text", "")) for output in cell.get("outputs", [])]
        if has(cell, "check") and f"Exercise {number(cell)}: right." in "\n".join(texts):
            found.add(number(cell))
    return found


def number(cell: NotebookNode) -> str:
    """The exercise that a cell belongs to, such as "03.1"; "" if none."""
    return cell.metadata.get("exercise", "")


def has(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])
