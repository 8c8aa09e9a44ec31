import hashlib
import json
from dataclasses import asdict, replace

from helpers import training
from helpers.checkpoint import WEIGHTS, read_checkpoint, save_checkpoint
from helpers.data import SegmentationDataset, load_splits
from helpers.model import UNet
from helpers.networks.pretrained import PretrainedUNet
from helpers.studies import experiments
from helpers.studies.experiments import (
    EXPERIMENTS,
    Experiment,
    InTurn,
    at_most,
    build_network,
    fewer_pairs,
    run_experiment,
    settings_of,
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
    assert record["settings"]["experiment"] == asdict(TINY)
    assert record["settings"]["experiment"]["batch_size"] == 16
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

    def instead(name, model, splits, history, config, settings, **options):
        assert options == {"test": False, "flip": False}
        seen[name] = (model, splits, config)

    monkeypatch.setattr(experiments, "fit", lambda *_, **__: {})
    monkeypatch.setattr(experiments, "make_record", instead)
    for name in EXPERIMENTS:
        run_experiment(name, drawn, epochs=1)

    model, splits, config = seen["baseline"]
    assert seen["no skips"][0].config["skips"] is False
    assert seen["8 channels"][0].config["base_channels"] == 8
    assert seen["no augmentation"][1].train.augment is None and splits.train.augment is not None
    assert seen["64 px"][1].train.pairs.images.shape[-1] == 64
    assert seen["cross-entropy alone"][2].loss == "ce"
    pretrained = seen["from synthetic pets"][0]
    shipped = read_checkpoint("synthetic")["model"]
    assert torch.equal(pretrained.head.weight, shipped["head.weight"])
    assert not torch.equal(model.head.weight, pretrained.head.weight)
    assert config == seen["no skips"][2]


def test_a_test_without_pairs_is_refused_before_the_training(drawn, monkeypatch):
    """A folder of your own with two groups has none."""
    without = load_splits(drawn, 32)
    without = without._replace(test=SegmentationDataset(without.test.pairs, torch.arange(0)))
    monkeypatch.setattr(experiments, "splits_of", lambda *_: without)
    monkeypatch.setattr(experiments, "fit", None)
    with pytest.raises(ValueError, match="synthetic has no test pairs: leave the test out"):
        run_experiment("tiny", drawn, TINY, test=True)


def test_a_size_that_the_network_cannot_take_is_refused_before_the_images_are_read(
    drawn, monkeypatch
):
    read = []
    monkeypatch.setattr(experiments, "load_splits", lambda *args, **options: read.append(args))
    with pytest.raises(ValueError, match="image size 33 x 33 is not divisible by"):
        run_experiment("33 px", drawn, Experiment(size=33), epochs=1, device="cpu")
    assert not read


def test_unknown_and_contradictory_experiments_are_refused(drawn):
    with pytest.raises(KeyError, match=r"no experiment 'depth 9': there are baseline, no skips"):
        run_experiment("depth 9", drawn)
    shallow = Experiment(model={"depth": 2}, size=64, weights="synthetic")
    with pytest.raises(ValueError, match=r"'synthetic' do not fit this UNet.*'depth': 4"):
        run_experiment("shallow", drawn, shallow, epochs=1)
    for name, least, value in (
        ("size", 1, 0),
        ("size", 1, 128.5),
        ("size", 1, float("nan")),
        ("batch_size", 1, 0),
        ("batch_size", 1, 2.5),
        ("samples", 0, -8),
        ("samples", 0, 1.5),
    ):
        text = f"{name} must be a whole number from {least} on, not {value}"
        with pytest.raises(ValueError, match=text):
            replace(TINY, **{name: value})


class TestNetworks:
    def test_random_weights_are_drawn_from_the_seed(self):
        torch.manual_seed(3)
        plain = UNet(**TINY.model).state_dict()
        torch.manual_seed(3)
        built = build_network(TINY).state_dict()
        assert all(torch.equal(built[key], plain[key]) for key in plain)

    def test_shipped_weights_by_name(self):
        built = build_network(Experiment(weights="synthetic")).state_dict()
        shipped = read_checkpoint(WEIGHTS / "synthetic.pt")["model"]
        assert all(torch.equal(built[key], shipped[key]) for key in shipped)

    def test_imagenet_in_the_encoder(self):
        options = {"network": "PretrainedUNet", "model": {"channels": [8, 8, 8, 8, 4]}}
        built = build_network(Experiment(weights="imagenet", **options))
        wanted = PretrainedUNet().load_imagenet().encoder.state_dict()
        found = built.encoder.state_dict()
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
        random = build_network(Experiment(**options)).encoder.conv_stem.weight
        assert not torch.equal(random, wanted["conv_stem.weight"])
        with pytest.raises(ValueError, match='"imagenet" are for a network that has them'):
            build_network(Experiment(weights="imagenet"))

    def test_of_another_kind_do_not_fit(self):
        with pytest.raises(ValueError, match="'synthetic' do not fit this PretrainedUNet"):
            build_network(Experiment(network="PretrainedUNet", weights="synthetic"))

    def test_of_ones_own(self, tmp_path, monkeypatch):
        (tmp_path / "mine.py").write_text("from helpers.model import UNet\nimport nowhere_at_all\n")
        monkeypatch.syspath_prepend(tmp_path)
        built = build_network(Experiment(network="helpers.model:UNet", model=TINY.model))
        assert built.config["base_channels"] == 4
        for name, error, message in (
            ("Mine", KeyError, "no 'Mine': there are UNet, PretrainedUNet, and your own"),
            ("nowhere:UNet", KeyError, r"no module 'nowhere': be in the folder that nowhere\.py"),
            ("helpers.model:Net", KeyError, "no 'Net' in .*model"),
            ("mine:UNet", ModuleNotFoundError, "nowhere_at_all"),  # not ours to explain
        ):
            with pytest.raises(error, match=message):
                build_network(Experiment(network=name))
        with pytest.raises(
            ValueError, match=r"UNet: got an unexpected .*'width'; it takes \(in_ch"
        ):
            build_network(Experiment(model={"width": 3}))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"skips": "false"}, "skips must be True or False, not 'false'"),
            ({"skips": 0}, "skips must be True or False, not 0"),
            ({"base_channels": "wide"}, "base_channels must be a whole number, not 'wide'"),
            ({"depth": [4]}, r"depth must be a whole number, not \[4\]"),
            ({"base_channels": 2.5}, r"base_channels must be a whole number, not 2\.5"),
            ({"depth": True}, "depth must be a whole number, not True"),
        ],
    )
    def test_an_option_of_another_type_is_refused(self, options, message):
        with pytest.raises(ValueError, match=f"^UNet: {message}$"):
            build_network(Experiment(model=options))


class TestSettings:
    """What a record and a checkpoint keep of an experiment."""

    def test_random_and_imagenet_need_no_sum(self):
        for weights in ("", "imagenet"):
            experiment = Experiment(weights=weights)
            assert settings_of(experiment) == {"experiment": asdict(experiment)}

    def test_weights_that_come_with_the_series(self):
        made, path = settings_of(Experiment(weights="synthetic")), WEIGHTS / "synthetic.pt"
        assert made["experiment"]["weights"] == "synthetic"
        assert made["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("runs/a/best.pt", "runs/a/best.pt"),
            ("./runs/../runs/a/best.pt", "runs/a/best.pt"),
            ("{here}/runs/a/best.pt", "runs/a/best.pt"),
            ("../elsewhere/best.pt", "best.pt"),
            ("{here}/../elsewhere/best.pt", "best.pt"),
        ],
    )
    def test_a_file_is_named_without_the_place_it_is_in(self, tmp_path, monkeypatch, given, kept):
        here = tmp_path / "here"
        for folder in (here / "runs" / "a", tmp_path / "elsewhere"):
            folder.mkdir(parents=True)
            (folder / "best.pt").write_bytes(b"weights")
        monkeypatch.chdir(here)
        made = settings_of(Experiment(weights=given.format(here=here)))
        assert made["experiment"]["weights"] == kept
        assert made["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()
        assert str(tmp_path) not in json.dumps(made)

    def test_a_run_goes_on_with_the_same_only(self, drawn, tmp_path):
        """The steps of an epoch, the model and the names are the same in all of these."""
        options = {"folder": tmp_path, "epochs": 1, "progress": False, "limit": 8}
        run_experiment("tiny", drawn, TINY, **options)
        best = read_checkpoint(tmp_path / "best.pt")
        assert best["experiment"] == asdict(TINY)
        for change in ({"batch_size": 17}, {"augment": "none"}):
            with pytest.raises(ValueError, match=r"made with experiment .*choose another folder"):
                run_experiment("tiny", drawn, replace(TINY, **change), **options)

    def test_weights_that_were_exchanged_are_noticed(self, drawn, tmp_path):
        """A file of the same name with other content is another beginning."""
        first = tmp_path / "first.pt"
        begun = replace(TINY, weights=str(first))
        options = {"folder": tmp_path / "run", "epochs": 1, "progress": False, "limit": 8}
        for seed in (1, 2):
            torch.manual_seed(seed)
            model = UNet(**TINY.model)
            save_checkpoint(first, {"model": model.state_dict(), "model_config": model.config})
            if seed == 1:
                record = run_experiment("tiny", drawn, begun, **options)[1]
                assert record["settings"] == settings_of(begun) | {
                    "training": record["settings"]["training"]
                }
                continue
            with pytest.raises(ValueError, match="made with weights_sha256 "):
                run_experiment("tiny", drawn, begun, **options)


def test_epochs_of_a_length_of_their_own(splits):
    """Two passes in three epochs: every sample twice, in another order the second time."""
    train = at_most(splits.train, 27)
    count = len(train)
    shown = InTurn(train, 2 * count // 3)
    assert count % 3 == 0 and len(shown) == 2 * count // 3

    line = []
    for epoch in (1, 2, 3):
        shown.set_epoch(epoch, seed=5)
        line += shown.indices.tolist()
    first, second = line[:count], line[count:]
    assert sorted(first) == sorted(second) == sorted(train.indices.tolist())
    assert first != second != sorted(second)

    shown.set_epoch(1, seed=5)
    assert shown.indices.tolist() == line[: len(shown)]  # as if nothing had been in between
    longer = InTurn(train, 2 * count + 1)
    assert len(longer) == 2 * count + 1


def test_a_run_in_parts_is_recorded_with_all_its_pairs(drawn):
    parts = replace(TINY, samples=8)
    _, record = run_experiment("tiny", drawn, parts, epochs=2, progress=False)
    _, whole = run_experiment("tiny", drawn, TINY, epochs=1, progress=False)
    assert record["pairs"] == whole["pairs"] and record["split_hash"] == whole["split_hash"]
    assert record["pairs"]["train"] > 8 and record["settings"]["experiment"]["samples"] == 8
    seconds = sum(record["history"]["seconds"])
    assert record["images_per_second"] == pytest.approx(16 / seconds, rel=0.05)


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
