"""The reader's own cells: kept when a check passes, run again where they are asked for."""

import linecache

from helpers.model import UNet
from helpers.teaching import mine
from helpers.teaching.checks import nb03, verdict

import pytest
import torch
from torch import nn

ANSWER = """
class DoubleConv(nn.Sequential):
    def __init__(self, inputs, outputs):
        layers = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers)


def double(inputs):
    return DoubleConv(inputs, 2 * inputs)
"""


@pytest.fixture
def cell(tmp_path, monkeypatch):
    """The names of a cell that was run as a notebook runs it, with its source at hand."""
    monkeypatch.setenv("UNET_HOME", str(tmp_path))
    name = "cell-2.py"
    monkeypatch.setitem(linecache.cache, name, (len(ANSWER), None, ANSWER.splitlines(True), name))
    names = {"nn": nn, "__name__": "__main__"}
    exec(compile(ANSWER, name, "exec"), names)
    return names


def test_a_passed_check_keeps_the_whole_cell_and_a_wrong_answer_nothing(cell, tmp_path, capsys):
    kept = tmp_path / "runs/mine/03.1.py"
    nb03.double_conv(nn.Identity)
    assert not kept.exists() and not nb03.double_conv.passed
    nb03.double_conv(cell["DoubleConv"])
    assert nb03.double_conv.passed and kept.read_text() == ANSWER
    assert nb03.double_conv.or_ours(None) is cell["DoubleConv"]
    nb03.double_conv(nn.Identity)  # what was right once stays there
    assert kept.read_text() == ANSWER and nb03.double_conv.or_ours(7) == 7
    assert capsys.readouterr().out.endswith(
        "Exercise 03.1 has not passed: from here on, ours steps in.\n"
    )
    verdict.FOUND.pop("03.1")


def test_a_function_is_kept_and_a_number_or_our_own_code_is_not(cell):
    assert mine.keep("99.1", cell["double"]).read_text() == ANSWER
    for other in (7, "seven", torch.zeros(2), UNet, UNet(), test_loading_runs_the_cells_again):
        assert mine.keep("99.2", other) is None
    assert [path.name for path in mine.folder().iterdir()] == ["99.1.py"]


def test_what_cannot_be_kept_is_told(cell, tmp_path, capsys):
    (tmp_path / "runs").write_text("a file where the folder should be")
    nb03.double_conv(cell["DoubleConv"])
    right, told = capsys.readouterr().out.splitlines()
    assert right.startswith("Exercise 03.1: right.") and "cannot write to" in told
    assert nb03.double_conv.passed
    verdict.FOUND.pop("03.1")


def test_loading_runs_the_cells_again(cell):
    mine.keep("03.1", cell["DoubleConv"])
    later = (
        "def network():\n    return nn.Sequential(DoubleConv(3, WIDTH), nn.Conv2d(WIDTH, 3, 1))\n"
    )
    (mine.folder() / "03.2.py").write_text(later)
    network = mine.load("network", "03.1", "03.2", WIDTH=4)()
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    assert mine.load("DoubleConv", "03.1") is not cell["DoubleConv"]
    with pytest.raises(NameError, match=r"03\.1, 03\.2 define no UNet"):
        mine.load("UNet", "03.1", "03.2")


def test_what_has_not_passed_is_told_with_its_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"exercise 03\.4 .* pass in notebook 03"):
        mine.load("UNet", "03.4")


class TestTakeOver:
    def test_by_order_whatever_the_names(self):
        torch.manual_seed(0)
        theirs, own = UNet(base_channels=4, depth=2).eval(), nn.Module()
        ours = UNet(base_channels=4, depth=2)
        own.body, own.forward = ours, ours.forward  # all names begin with "body."
        images = torch.randn(1, 3, 16, 16)
        assert mine.take_over(own, theirs.state_dict()) is own
        assert torch.equal(own.eval()(images), theirs(images))

    def test_names_that_agree_count_more_than_the_order(self):
        theirs = UNet(base_channels=4, depth=2)
        weights = dict(reversed(theirs.state_dict().items()))
        own = mine.take_over(UNet(base_channels=4, depth=2), weights).state_dict()
        assert all(torch.equal(own[name], value) for name, value in weights.items())

    def test_what_does_not_fit_is_named(self):
        weights = UNet(base_channels=4, depth=2).state_dict()
        with pytest.raises(ValueError, match=r"66 tensors do not fit .* has 92"):
            mine.take_over(UNet(base_channels=4, depth=3), weights)
        with pytest.raises(ValueError, match=r"stem\.0\.weight is \(8, 3, 3, 3\), stem\.0.*\(4, 3"):
            mine.take_over(UNet(base_channels=8, depth=2), weights)
