"""What is handed out has no solution and no output; with the solutions it is the whole again."""

from helpers.teaching import SERIES
from helpers.teaching.__main__ import main, student_edition, with_solutions
from helpers.teaching.quiz import read_quiz

import nbformat
import pytest

NOTEBOOKS = sorted(SERIES.glob("*.ipynb"))


def tags(cell):
    return cell.metadata.get("tags", [])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_is_given_away_and_nothing_is_lost(path):
    official = nbformat.read(path, as_version=4)
    edition = student_edition(official)

    solutions = [cell.source for cell in official.cells if "solution" in tags(cell)]
    left = "\n".join(cell.source for cell in edition.cells)
    assert not any(solution in left for solution in solutions)
    assert "<summary>Exercise" not in left and "## Solutions" not in left
    code = [cell for cell in edition.cells if cell.cell_type == "code"]
    assert code and not any(cell.outputs or cell.execution_count for cell in code)

    # The official notebook is as it was, and comes out again but for its outputs.
    assert official == nbformat.read(path, as_version=4)
    for cell in official.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    assert with_solutions(edition, official) == official


def test_the_command_writes_all_and_replaces_none(tmp_path, capsys):
    main(["student", "--out", str(tmp_path / "course")])
    written = sorted((tmp_path / "course").iterdir())
    assert [path.name for path in written] == [path.name for path in NOTEBOOKS]
    assert capsys.readouterr().out.startswith(f"{len(NOTEBOOKS)} notebooks in ")
    for path in written:
        nbformat.validate(nbformat.read(path, as_version=4))

    written[0].write_text("an answer")
    with pytest.raises(SystemExit):
        main(["student", "--out", str(tmp_path / "course")])
    assert f"{written[0].name} is there already" in capsys.readouterr().err
    assert written[0].read_text() == "an answer"


@pytest.mark.parametrize("what", ["student", "key"])
def test_a_place_that_cannot_be_written_is_usage(what, tmp_path, capsys):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "x", tmp_path if what == "key" else tmp_path / "file"):
        with pytest.raises(SystemExit):
            main([what, "--out", str(out)])
        assert "error: " in capsys.readouterr().err


def test_the_key_has_every_solution_and_every_quiz(tmp_path, capsys):
    main(["key", "--out", str(tmp_path / "key.md")])
    key = (tmp_path / "key.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        programs = [c.source.split("```python\n")[1:] for c in cells if "solution" in tags(c)]
        for program in programs:
            assert all(part.split("```")[0] in key for part in program)
        right = " ".join(f"{k}{q.answer}" for k, q in enumerate(read_quiz(path.name[:2]), start=1))
        assert f"\n{right}\n" in key
    assert "<details>" not in key and capsys.readouterr().out.endswith("key.md\n")
