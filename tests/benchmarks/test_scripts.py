"""Each benchmark at its smallest: that it runs, and what it leaves. Figures are for real runs."""

import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import notebooks
from helpers.studies.experiments import Experiment
from helpers.studies.records import load_records
from helpers.train import main as train
from helpers.train import parser

import checking
import loading
import nbformat
import predicting
import pytest
import runs
import speed
import together
import torch

TINY = Experiment(model={"base_channels": 4, "depth": 2}, size=32)


@pytest.fixture(autouse=True)
def dataset(drawn, monkeypatch):
    monkeypatch.setenv("PETS_DATA", str(drawn.root))


@pytest.fixture
def variants(monkeypatch):
    """The module, imported anew, so that it adds its losses; `own_losses` takes them away again."""
    monkeypatch.delitem(sys.modules, "variants", raising=False)
    return importlib.import_module("variants")


@pytest.mark.slow
@pytest.mark.usefixtures("variants")
@pytest.mark.parametrize("name", [*runs.TRIED, *runs.TRIED_LATER, *runs.ALSO])
def test_what_was_tried_can_be_trained(name, tmp_path):
    flags = (runs.TRIED | runs.TRIED_LATER | runs.ALSO)[name]
    few = ["--epochs", "1", "--size", "32", "--limit", "5", "--device", "cpu"]
    train([*shlex.split(flags), *few, "--data", os.environ["PETS_DATA"], "--out", str(tmp_path)])
    assert (tmp_path / "record.json").is_file()


def test_averaged_weights_are_between_the_first_and_the_last(variants):
    model = variants.AveragedUNet(decay=0.9, base_channels=4, depth=1)
    images = torch.randn(2, 3, 16, 16)
    first = model.model.head.weight.detach().clone()
    model.train()(images)  # the average begins
    with torch.no_grad():
        model.model.head.weight += 1
    model(images)
    average = model.average.module.head.weight
    assert torch.allclose(average, first + 0.1, atol=1e-5)
    assert not average.requires_grad
    assert torch.equal(model.eval()(images), model.average(images))


def test_speed_in_turn(tmp_path, monkeypatch, capsys):
    """Every round goes through all networks; the first only warms up; medians count."""
    seen = []
    pace = {"train_speed": iter([99, 99, 3, 30, 1, 10, 2, 20]), "evaluation_speed": iter([5] * 8)}
    for method, speeds in pace.items():

        def measured(trainee, method=method, speeds=speeds):
            seen.append((trainee.model.config["base_channels"], method))
            return float(next(speeds))

        monkeypatch.setattr(speed.Trainee, method, measured)
    small = Experiment(model={"base_channels": 2, "depth": 2}, size=32)
    monkeypatch.setattr(speed, "CASES", {"tiny": TINY, "small": small})
    speed.main(["--rounds", "3", "--minutes", "1", "7", "--threads", "1", "--out", str(tmp_path)])

    turn = [(c, method) for c in (4, 2) for method in ("train_speed", "evaluation_speed")]
    assert seen == turn * 4
    (record,) = load_records("speed", tmp_path)
    assert record["networks"]["tiny"]["training"] == 2
    assert record["networks"]["small"]["training"] == 20
    assert record["networks"]["tiny"]["evaluation"] == 5
    assert record["networks"]["small"]["rounds"]["training"] == [30, 10, 20]
    assert record["networks"]["small"]["model"] == small.model and record["pairs"] == 28

    # An epoch of tiny's is 28 / 2 = 14 s: a minute has 4 of them, 7 have 30.
    told = capsys.readouterr().out
    assert "tiny: 2.0 images/s: 4 epochs in 1 min, 30 epochs in 7 min (one: 0.2)" in told
    assert torch.get_num_threads() == 1


def test_minutes_as_epochs_and_as_samples():
    assert speed.epochs_in(3, {"training": 2}, pairs=2760) == 1  # at least
    assert speed.epochs_in(10, {"training": 12}, pairs=2760) == 2  # 2.6
    assert speed.samples_in(10, {"training": 12}, pairs=2760) == 7200
    assert speed.samples_in(10, {"training": 2}, pairs=2760) == 2760  # all of them, at least


def test_what_is_timed_is_a_training(drawn):
    """Steps are taken on new images in each pass, and the evaluation changes nothing."""
    trainee = speed.Trainee(TINY, drawn, images=8, passes=2, precision="float32")
    before = [p.detach().clone() for p in trainee.model.parameters()]
    assert trainee.evaluation_speed() > 0
    assert all(map(torch.equal, before, trainee.model.parameters()))

    assert trainee.train_speed() > 0
    assert not any(map(torch.equal, before, trainee.model.parameters()))
    assert trainee.state.schedule.last_epoch == 1  # steps: 8 of its images fill one batch
    first = next(iter(trainee.train))[0].sum()
    trainee.train_speed()
    assert next(iter(trainee.train))[0].sum() != first


def test_the_speed_of_all_that_is_given_minutes_is_measured():
    """What runs.py turns into epochs is among the cases: network, arguments, size."""
    cases = [(case.network, case.model, case.size) for case in speed.CASES.values()]
    for own in runs.PEERS.values():
        options = parser().parse_args(["--data", "pets", "--out", ".", *shlex.split(own)])
        assert (options.network, dict(options.model), options.size) in cases


def test_loading(capsys):
    loading.main(["--epochs", "1", "--target", "1"])
    assert capsys.readouterr().out.count("times faster") == 2
    with pytest.raises(AssertionError, match="target"):
        loading.main(["--epochs", "1", "--target", "1e9"])


def test_predicting(capsys):
    predicting.main("--images 4 --rounds 1 --batch-size 3 --weights synthetic".split())
    told = capsys.readouterr().out
    assert "4 images, synthetic" in told and told.count("images/s") == 2


def test_checking(capsys):
    checking.main(["--pairs", "12", "--size", "32"])
    told = capsys.readouterr().out
    assert "0 errors, 0 warnings" in told and "12 pairs of 32 x 32 pixels" in told


@pytest.mark.slow
def test_two_trainings_at_once(capsys):
    slower = together.main(["--seconds", "0.5", "--no-target"])
    assert 0.2 < slower < 100 and "two at once" in capsys.readouterr().out


def test_notebooks_run_in_a_copy(tmp_path, capsys):
    """What is executed is a copy: it writes there, and a failure is told."""
    root, out = tmp_path / "clone", tmp_path / "out" / "made"
    (root / "notebooks").mkdir(parents=True)
    (root / "helpers").mkdir()
    (root / "helpers" / "__init__.py").write_text("NAME = 'the copy'\n")
    sources = {
        "04_good": "import os, helpers; open(os.environ['UNET_HOME'], 'w'); print(helpers.NAME)",
        "05_bad": "1 / 0",
        "05_dead": "import os; os._exit(1)",
        "06_other": "print('not asked for')",
    }
    for name, source in sources.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")

    assert notebooks.main(["--only", "04", "05", "--out", str(out)], root) == 1
    told = capsys.readouterr().out
    assert "ZeroDivisionError" in told and "missed its target: 05_bad, 05_dead" in told
    assert "06_other" not in told

    (kept,) = out.iterdir()
    (cell,) = nbformat.read(kept, as_version=4).cells
    assert kept.name == "04_good.ipynb" and cell.outputs[0].text == "the copy\n"
    assert sorted(path.name for path in root.iterdir()) == ["helpers", "notebooks"]
    assert notebooks.main(["--only", "04"], root) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["speed", "runs", "facts"])
def test_a_script_starts_as_its_page_says(name):
    """From a shell, without what pytest adds to the path."""
    path = Path(__file__).with_name(f"{name}.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(path), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert f"python tests/benchmarks/{name}.py" in done.stdout
