"""Each benchmark at its smallest: that it runs, and what it leaves. Figures are for real runs."""

import os
import subprocess
import sys
from pathlib import Path

import notebooks
from helpers import training
from helpers.data import load_splits
from helpers.losses import LOSSES
from helpers.model import UNet
from helpers.studies.experiments import Experiment
from helpers.studies.records import load_records
from helpers.training import TrainingConfig

import cost
import experiments
import left_out
import loading
import models
import nbformat
import pytest
import together
import torch

TINY = Experiment(model={"base_channels": 4, "depth": 2}, size=32)


@pytest.fixture(autouse=True)
def dataset(drawn, monkeypatch):
    monkeypatch.setenv("PETS_DATA", str(drawn.root))


def test_a_stopped_script_records_nothing_and_stops(tmp_path, monkeypatch):
    """Ctrl-C in the second epoch of the first of two runs; later the script goes on from there."""
    study = {"first": TINY, "second": TINY}
    monkeypatch.setitem(experiments.STUDIES, "one-factor", study)
    arguments = ["one-factor", "--seeds", "0", "--epochs", "2", "--out", str(tmp_path)]

    scored = []

    def stop_at_the_second(*given, **options):
        scored.append(1)
        if len(scored) == 2:
            raise KeyboardInterrupt
        return evaluate(*given, **options)

    evaluate = training.evaluate
    monkeypatch.setattr(training, "evaluate", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        experiments.main(arguments)
    assert not list(tmp_path.rglob("*.json")) and len(scored) == 2

    experiments.main(arguments)
    made = load_records("one-factor", tmp_path)
    assert [record["name"] for record in made] == ["first", "second"]
    assert all(len(record["history"]["seconds"]) == 2 for record in made)
    assert len(scored) == 2 + 1 + 2


def test_runs_with_a_record_are_skipped(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(experiments.STUDIES, "recipe", {"recipe": TINY})
    arguments = ["recipe", "--seeds", "7", "--epochs", "1", "--out", str(tmp_path)]
    experiments.main(arguments)
    (record,) = load_records("recipe", tmp_path)
    assert {"calibration_error", "temperature", "calibration_error_scaled"} <= record["test"].keys()
    assert record["test"]["images"] == record["test_flip"]["images"] == 37
    plain, flipped = (record[part]["temperature"] for part in ("test", "test_flip"))
    assert plain != flipped
    assert record["test"]["calibration_error_scaled"] < record["test"]["calibration_error"] + 0.05

    experiments.main(arguments)
    assert "skipped" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", left_out.VARIANTS)
def test_variants_that_were_left_out(name, drawn, monkeypatch):
    monkeypatch.setitem(left_out.VARIANTS["recipe, stronger augmentation"].training, "epochs", 1)
    record = left_out.run(name, load_splits(drawn, 32), epochs=1, seed=0)
    assert 0 < record["val"]["own_size"]["miou"] < 1
    assert record["settings"]["variant"] == name


def test_averaged_weights_are_near_the_first_ones(drawn, monkeypatch):
    """At 0.99, a few steps hardly move the average."""
    trained = []
    monkeypatch.setattr(left_out, "make_record", lambda _, model, *__: trained.append(model))
    for name in ("averaged weights (EMA 0.99)", "stronger augmentation"):
        left_out.run(name, load_splits(drawn, 32), epochs=2, seed=0)

    torch.manual_seed(0)
    first = UNet().state_dict()["head.weight"]
    averaged, plain = ((model.head.weight - first).abs().mean() for model in trained)
    assert 0 < averaged < plain / 2


@pytest.mark.slow
def test_networks_against_each_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "SIZE", 32)
    names = ["UNet (ours)", "example project"]  # the others are not installed everywhere
    models.main(["--minutes", "0.001", "--names", *names, "--out", str(tmp_path)])
    made = {record["name"]: record for record in load_records("models", tmp_path)}
    assert made.keys() == set(names)
    assert all(
        r["device"].startswith("cpu") and r["precision"] == "bfloat16" for r in made.values()
    )
    assert made["example project"]["parameters"] == pytest.approx(2.66e6, rel=0.01)
    table = capsys.readouterr().out
    assert "(example's end)" in table and "which were not tuned" in table


@pytest.mark.parametrize(("schedule", "falls"), [("constant", False), ("cosine", True)])
def test_another_recipe_is_followed(drawn, schedule, falls):
    LOSSES.update(models.OWN_LOSSES)
    recipe = models.Recipe("Adam", 1e-3, 8, "cross-entropy, plain", schedule)
    model, config = UNet(base_channels=4, depth=2), TrainingConfig(epochs=3, loss=recipe.loss)
    history = models.train_by_recipe(model, load_splits(drawn, 32), recipe, config)
    first, *_, last = history["learning_rate"]
    assert first == 1e-3 and (last < 5e-4 if falls else last == 1e-3)
    assert history["train_loss"][-1] < history["train_loss"][0]


def test_the_recipes_name_what_there_is():
    for _, recipe in models.OTHERS.values():
        assert recipe.loss in models.OWN_LOSSES and recipe.augmentation in models.AUGMENTATIONS


@pytest.mark.slow
def test_cost(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "SIZE", 32)
    monkeypatch.delitem(cost.SETTINGS, "mixed, compiled")  # needs a compiler
    cost.main(["--widths", "8", "--seconds", "0.1", "--out", str(tmp_path)])
    (record,) = load_records("cost", tmp_path)
    assert record["widths"]["8"]["parameters"] == 486_571
    assert all(speed > 0 for speed in record["settings"].values())
    assert all(0 <= part < 1 for part in record["waiting_fraction"].values())


def test_cost_times_the_steps_that_fit_takes(monkeypatch):
    monkeypatch.setattr(cost, "SIZE", 16)
    seen = []
    monkeypatch.setattr(cost, "train_one_epoch", lambda state, *_: seen.append(state))
    trainer = cost.Trainer(width=4)
    trainer.seconds_for([cost.random_batch()])
    assert seen == [trainer.state]


def test_loading(capsys):
    loading.main(["--epochs", "1", "--target", "1"])
    assert capsys.readouterr().out.count("times faster") == 2
    with pytest.raises(AssertionError, match="target"):
        loading.main(["--epochs", "1", "--target", "1e9"])


@pytest.mark.slow
def test_two_trainings_at_once(capsys):
    slower = together.main(["--seconds", "0.5", "--no-target"])
    assert 0.2 < slower < 100 and "two at once" in capsys.readouterr().out


def test_notebooks_run_in_a_copy(tmp_path, capsys):
    """What is executed is a copy: it writes there, and a failure is told."""
    root, out = tmp_path / "clone", tmp_path / "out"
    (root / "notebooks").mkdir(parents=True)
    (root / "helpers").mkdir()
    (root / "helpers" / "__init__.py").write_text("NAME = 'the copy'\n")
    out.mkdir()
    sources = {
        "04_good": "import os, helpers; open(os.environ['UNET_HOME'], 'w'); print(helpers.NAME)",
        "05_bad": "1 / 0",
        "06_other": "print('not asked for')",
    }
    for name, source in sources.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")

    assert notebooks.main(["--only", "04", "05", "--out", str(out)], root) == 1
    told = capsys.readouterr().out
    assert "ZeroDivisionError" in told and "missed its target: 05_bad" in told
    assert "06_other" not in told

    (kept,) = out.iterdir()
    (cell,) = nbformat.read(kept, as_version=4).cells
    assert kept.name == "04_good.ipynb" and cell.outputs[0].text == "the copy\n"
    assert sorted(path.name for path in root.iterdir()) == ["helpers", "notebooks"]
    assert notebooks.main(["--only", "04"], root) == 0


@pytest.mark.slow
def test_a_script_starts_as_its_page_says():
    """From a shell, without what pytest adds to the path."""
    path = Path(__file__).with_name("experiments.py")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(path), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "python tests/benchmarks/experiments.py STUDY" in done.stdout
