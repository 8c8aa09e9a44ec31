import json

from helpers import experiments
from helpers.data import SegmentationDataset
from helpers.studies.experiments import (
    EXPERIMENTS,
    Experiment,
    add_test_scores,
    fewer_pairs,
    load_records,
    run_experiment,
    save_record,
    split_hash,
)

import pytest
import torch

TINY = Experiment(model={"base_channels": 4, "depth": 2}, size=64)


@pytest.fixture(scope="module")
def run(drawn):
    return run_experiment("tiny", drawn, TINY, epochs=1, progress=False)


def test_a_record_says_all_that_is_needed_to_repeat_it(run, drawn):
    _, record = run
    assert record["dataset"] == drawn.name and record["size"] == 64 and record["seed"] == 0
    assert record["settings"]["training"]["epochs"] == 1 and record["settings"]["experiment"]["size"] == 64
    assert sum(record["pairs"].values()) == drawn.pairs
    assert len(record["history"]["val_miou"]) == 1
    assert record["val"]["miou"] == pytest.approx(record["history"]["val_miou"][0], abs=1e-3)
    assert {"commit", "torch", "device", "date", "split_hash", "minutes"} <= record.keys()
    again = run_experiment("tiny", drawn, TINY, epochs=1, progress=False)[1]
    assert again["history"]["train_loss"] == record["history"]["train_loss"]
    other = run_experiment("tiny", drawn, TINY, epochs=1, progress=False, seed=1)[1]
    assert other["history"]["train_loss"] != record["history"]["train_loss"]


def test_records_survive_saving(run, tmp_path, splits):
    model, record = run
    record = add_test_scores(record, model, splits)
    assert record["test"]["images"] == record["test_flip"]["images"] == len(splits.test)
    assert record["test"]["calibration_error_scaled"] < record["test"]["calibration_error"] + 0.05
    path = save_record(record, "study", tmp_path)
    assert path.name == "tiny-0.json" and [p.name for p in path.parent.iterdir()] == ["tiny-0.json"]
    assert load_records("study", tmp_path) == [record]
    with pytest.raises(FileNotFoundError, match="holds no records: the scripts in tests"):
        load_records("none", tmp_path)


def test_an_unwritable_record_leaves_nothing(tmp_path, run):
    with pytest.raises(TypeError):
        save_record(run[1] | {"bad": object()}, "study", tmp_path)
    assert list((tmp_path / "study").iterdir()) == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_experiment_changes_one_thing(name):
    plain, this = Experiment(), EXPERIMENTS[name]
    changed = [key for key in vars(plain) if getattr(plain, key) != getattr(this, key)]
    assert len(changed) == (name != "baseline")
    assert len(this.model) <= 1 and len(this.training) <= 1


def test_the_named_experiments_do_what_they_say(drawn, monkeypatch):
    seen = {}

    def instead(name, model, splits, seed, settings, train):
        seen[name] = (model, splits, settings["training"])
        return {}

    monkeypatch.setattr(experiments, "record_run", instead)
    for name in EXPERIMENTS:
        run_experiment(name, drawn, epochs=1)
    assert seen["no skips"][0].config["skips"] is False
    assert seen["depth 2"][0].config["depth"] == 2
    assert seen["no augmentation"][1].train.augment is None and seen["baseline"][1].train.augment is not None
    assert seen["64 px"][1].train.pairs.images.shape[-1] == 64
    assert seen["cross-entropy alone"][2]["loss"] == "ce"
    assert len(set(seen["1/4 of the pairs"][1].train.names)) == -(-len(seen["baseline"][1].train) // 4)
    fresh, pretrained = seen["baseline"][0], seen["pretrained on drawn pets"][0]
    assert not torch.equal(fresh.head.weight, pretrained.head.weight)
    assert seen["baseline"][2] == seen["no skips"][2]
    with pytest.raises(KeyError, match=r"no experiment 'depth 9': there are baseline, no skips"):
        run_experiment("depth 9", drawn)


def test_fewer_pairs_keep_the_steps(splits):
    train = splits.train
    few = fewer_pairs(train, 0.25)
    assert len(few) == len(train) and len(set(few.names)) == -(-len(train) // 4)
    assert set(few.names) <= set(train.names)
    assert fewer_pairs(train, 1).names == train.names
    with pytest.raises(ValueError, match=r"share must be .* not 0"):
        fewer_pairs(splits.train, 0)
    with pytest.raises(ValueError, match=r"leave out model=\{'depth': 2\}"):
        experiments.Experiment(pretrained=True, model={"depth": 2})
    with pytest.raises(ValueError, match="share must be 1, 1/2"):
        fewer_pairs(train, 0.3)


def test_split_hash_tells_roles_apart(splits):
    assert split_hash(splits) == split_hash(splits._replace(train=fewer_pairs(splits.train, 1)))
    swapped = splits._replace(train=splits.val, val=splits.train)
    assert split_hash(swapped) != split_hash(splits)
    less = splits._replace(train=SegmentationDataset(splits.train.pairs, splits.train.indices[1:]))
    assert split_hash(less) != split_hash(splits)


def test_shipped_records_are_complete_and_comparable():
    """Runs of one study were made on the same pairs, at several seeds, by committed code."""
    for folder in sorted(experiments.RECORDS.iterdir()):
        records = load_records(folder.name)
        made_on = {(r.get("dataset"), r.get("split_hash")) for r in records if r["name"] not in SHARES}
        assert len(made_on) == 1, folder.name
        for record in records:
            assert record["commit"] != "unknown" and not record["commit"].endswith("-dirty"), record["name"]
            assert len(json.dumps(record)) < 60_000


SHARES = ("1/4 of the pairs", "1/2 of the pairs")
