"""Every exercise: unanswered it says so, typical wrong answers get their hint, and the folded solution is right.

One pass over each notebook, cell by cell in one process, as a reader would go, with the solutions put in.
"""

import ast
import contextlib
import io
import re
from pathlib import Path

from helpers.teaching.checks import nb02, nb03 as blocks
from helpers.datasets.pets import PetFolder
from helpers.model import DoubleConv

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from torch import nn
from wrong_answers import WRONG

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = [path for path in sorted(FOLDER.glob("*.ipynb")) if path.name[:2] not in ("00", "08")]
FOLD = re.compile(r"<summary>Solution</summary>\s*```python\n(.*?)```", re.DOTALL)
SHORT = {"04": {"EPOCHS": 1}, "07": {"EPOCHS": 1}}  # no exercise depends on these


def cells_of(path: Path) -> list:
    return nbformat.read(path, as_version=4).cells


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def solution_of(cells: list, i: int) -> str:
    """The folded Python below the exercise at i, or the folded code cell."""
    text, following = cells[i + 2].source, cells[i + 3]
    fold = FOLD.search(text)
    if fold:
        return fold[1]
    assert "solution" in tags(following), f"no solution below {cells[i].source!r}"
    return following.source


class Reader:
    """Runs cells in one namespace, as a kernel would; returns what they print."""

    def __init__(self) -> None:
        self.names = {"__name__": "__main__"}

    def run(self, source: str) -> str:
        tree, out = ast.parse(source), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(tree, "<cell>", "exec"), self.names)
        plt.close("all")
        return out.getvalue()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_checks_tell_unanswered_wrong_and_right(path, monkeypatch, tmp_path):
    monkeypatch.chdir(FOLDER)
    monkeypatch.setattr(Source, "runs", property(lambda _source: tmp_path))  # no checkpoint is left where readers look
    reader, cells, seen = Reader(), cells_of(path), []
    reader.names["display"] = lambda *_: None
    for i, cell in enumerate(cells):
        if cell.cell_type != "code" or "check" in tags(cell) or "quiz" in tags(cell):
            continue
        if "exercise" not in tags(cell):
            source = cell.source
            for name, value in SHORT.get(path.name[:2], {}).items():
                source = re.sub(rf"^{name} = \d+", f"{name} = {value}", source, flags=re.MULTILINE)
            reader.run(source)
            continue
        check, solution = cells[i + 1].source, solution_of(cells, i)
        reader.run(cell.source)
        unanswered = reader.run(check)
        number = re.match(r"Exercise (\d\d\.\d): not answered yet\.\n$", unanswered)
        assert number, f"{cell.source}\n{unanswered}"
        seen.append(number[1])
        assert WRONG[number[1]], f"no wrong answer to {number[1]}"
        for wrong, hint in WRONG[number[1]]:
            reader.run(wrong)
            said = reader.run(check)
            assert said.startswith(f"Exercise {number[1]}: not yet. "), f"{wrong}\n{said}"
            assert hint in said, f"{wrong}\n{said}"
        reader.run(solution)
        said = reader.run(check)
        assert said.startswith(f"Exercise {number[1]}: right."), f"{solution}\n{said}"
    assert seen == [f"{path.name[:2]}.{k}" for k in range(1, len(seen) + 1)]
    assert 3 <= len(seen) <= 5


def test_no_wrong_answer_is_left_over():
    stated = {
        f"{path.name[:2]}.{number}"
        for path in NOTEBOOKS
        for number in re.findall(r"\*\*Exercise (\d):", "\n".join(c.source for c in cells_of(path)))
    }
    assert stated == set(WRONG)


def test_right_answers_may_be_written_in_another_order(capsys):
    class Up(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.conv = DoubleConv(2 * out_channels, out_channels)  # before self.up
            self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, 2)

        def forward(self, x, skip):
            return self.conv(torch.cat((skip, self.up(x)), dim=1))

    blocks.up(Up)
    assert capsys.readouterr().out.startswith("Exercise 03.3: right.")


@pytest.mark.parametrize("padding", [0.4, 51 / 128, 52 / 128])
def test_padding_may_be_counted_in_whole_rows(padding, capsys):
    nb02.padding_share(padding)
    assert capsys.readouterr().out.startswith("Exercise 02.1: right.")
