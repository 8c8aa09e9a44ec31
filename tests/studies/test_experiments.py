from helpers import training
from helpers.studies import experiments
from helpers.studies.experiments import (
    EXPERIMENTS,
    Experiment,
    at_most,
    fewer_pairs,
    run_experiment,
)

import pytest
import torch

TINY = Experiment(model={"base_channels": 4, "depth": 2}, size=64)


def run(drawn, seed=0, **options):
    return run_experiment("tiny", drawn, TINY, seed=seed, epochs=1, progress=False, **options)[1]


def test_a_record_says_all_that_is_needed_to_repeat_it(drawn):
    record = run(drawn)
    assert record["dataset"] == drawn.name == "synthetic"
    assert record["size"] == 64 and record["seed"] == 0
    assert record["settings"]["training"]["epochs"] == 1
    assert record["settings"]["experiment"]["size"] == 64
    assert record["settings"]["batch_size"] == 16
    assert sum(record["pairs"].values()) == drawn.count
    assert len(record["history"]["val_miou"]) == 1
    assert record["val"]["miou"] == pytest.approx(record["history"]["val_miou"][0], abs=1e-3)

    assert run(drawn)["history"]["train_loss"] == record["history"]["train_loss"]
    assert run(drawn, seed=1)["history"]["train_loss"] != record["history"]["train_loss"]


def test_a_stopped_run_gives_no_record_and_goes_on(drawn, tmp_path, monkeypatch):
    """Ctrl-C reaches the caller; the same call again trains only what is left."""
    seen = []

    def evaluate(*arguments, **options):
        seen.append(1)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real_evaluate(*arguments, **options)

    real_evaluate = training.evaluate
    monkeypatch.setattr(training, "evaluate", evaluate)
    options = {"folder": tmp_path, "epochs": 3, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        run_experiment("tiny", drawn, TINY, **options)

    _, record = run_experiment("tiny", drawn, TINY, **options)
    assert len(record["history"]["val_miou"]) == 3
    assert len(seen) == 2 + 2  # one epoch, one that was stopped; that one again, and the last


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_experiment_changes_one_thing(name):
    plain, this = Experiment(), EXPERIMENTS[name]
    changed = [key for key in vars(plain) if getattr(plain, key) != getattr(this, key)]
    assert len(changed) == (name != "baseline")
    assert len(this.model) <= 1 and len(this.training) <= 1


def test_the_named_experiments_do_what_they_say(drawn, monkeypatch):
    seen = {}

    def instead(name, model, splits, history, config, settings):
        seen[name] = (model, splits, config)

    monkeypatch.setattr(experiments, "fit", lambda *_, **__: {})
    monkeypatch.setattr(experiments, "make_record", instead)
    for name in EXPERIMENTS:
        run_experiment(name, drawn, epochs=1)

    model, splits, config = seen["baseline"]
    assert seen["no skips"][0].config["skips"] is False
    assert seen["depth 2"][0].config["depth"] == 2
    assert seen["no augmentation"][1].train.augment is None and splits.train.augment is not None
    assert seen["64 px"][1].train.pairs.images.shape[-1] == 64
    assert seen["cross-entropy alone"][2].loss == "ce"
    fewer = seen["1/4 of the pairs"][1].train
    assert len(set(fewer.names)) == -(-len(splits.train) // 4)
    pretrained = seen["pretrained on synthetic pets"][0]
    assert not torch.equal(model.head.weight, pretrained.head.weight)
    assert config == seen["no skips"][2]


def test_unknown_and_contradictory_experiments_are_refused(drawn):
    with pytest.raises(KeyError, match=r"no experiment 'depth 9': there are baseline, no skips"):
        run_experiment("depth 9", drawn)
    shallow = Experiment(model={"depth": 2}, size=64, pretrained=True)
    with pytest.raises(RuntimeError, match=r"size mismatch|Unexpected key"):
        run_experiment("shallow", drawn, shallow, epochs=1)


def test_fewer_pairs_keep_the_steps(splits):
    train = splits.train
    few = fewer_pairs(train, 0.25)
    assert len(few) == len(train) and len(set(few.names)) == -(-len(train) // 4)
    assert set(few.names) <= set(train.names)
    assert few.augment is train.augment
    assert fewer_pairs(train, 1).names == train.names
    for wrong in (0, 0.3, -1):
        with pytest.raises(ValueError, match=f"fraction must be 1, 1/2, 1/3, ..., not {wrong}"):
            fewer_pairs(train, wrong)


def test_a_bounded_run(splits, drawn):
    """At most so many pairs, from all over the list, with what else belongs to them."""
    train = splits.train
    few = at_most(train, 5)
    assert len(few) == len(set(few.names)) == 5 and set(few.names) <= set(train.names)
    assert few.names[0] == train.names[0] and few.names[-1] == train.names[-1]
    assert few.augment is train.augment
    assert at_most(train, None) is at_most(train, 1000) is train

    assert run(drawn, limit=6)["pairs"] == {"train": 6, "val": 6, "test": 37}
