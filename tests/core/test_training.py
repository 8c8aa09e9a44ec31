import math
from dataclasses import replace

from helpers.checkpoint import read_checkpoint
from helpers.data import SegmentationDataset
from helpers.inference import evaluate, pick_device, pick_precision
from helpers.losses import LOSSES
from helpers.model import UNet
from helpers.training import TrainingConfig, fit

import pytest
import torch


def small() -> UNet:
    torch.manual_seed(1)
    return UNet(base_channels=4, depth=2)


QUICK = TrainingConfig(epochs=4, batch_size=8)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_overfits_one_batch(splits):
    """The whole chain can learn: eight pairs are learned by heart."""
    few = SegmentationDataset(splits.train.pairs, splits.train.indices[:8])
    torch.manual_seed(0)
    model = UNet(base_channels=8, depth=3)
    history = fit(model, few, few, TrainingConfig(epochs=120, batch_size=8, learning_rate=1e-2), device="cpu")
    assert history["train_loss"][0] > 0.8
    assert evaluate(model, few, device="cpu").confusion.mean_iou() > 0.9


def test_initial_loss_is_near_ln_3(splits):
    assert evaluate(small(), splits.val, device="cpu").loss == pytest.approx(math.log(3), abs=0.35)


@pytest.mark.parametrize("loss", ["ce", "dice", "ce+dice"])
@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_every_setting_learns(splits, loss, schedule):
    config = TrainingConfig(epochs=3, batch_size=8, loss=loss, schedule=schedule, learning_rate=1e-2)
    history = fit(small(), splits.train, splits.val, config, device="cpu")
    assert history["train_loss"][-1] < history["train_loss"][0]
    assert history["learning_rate"][-1] < max(history["learning_rate"])


def test_mixed_precision_on_a_cpu_stays_close(splits):
    plain = fit(small(), splits.train, splits.val, QUICK, device="cpu")
    mixed = fit(
        small(), splits.train, splits.val, TrainingConfig(epochs=4, batch_size=8, mixed_precision=True), device="cpu"
    )
    assert mixed["train_loss"] != plain["train_loss"]
    assert mixed["train_loss"][-1] == pytest.approx(plain["train_loss"][-1], rel=0.1)


def test_keeps_the_best_weights(splits, tmp_path):
    model = small()
    history = fit(model, splits.train, splits.val, QUICK, device="cpu", folder=tmp_path)
    best = read_checkpoint(tmp_path / "best.pt")
    assert best["val_miou"] == max(history["val_miou"]) and best["trained_on"] == "sketch"
    assert same(best["model"], model.state_dict())
    assert evaluate(model, splits.val, device="cpu").confusion.mean_iou() == pytest.approx(best["val_miou"], abs=1e-6)


class _Stop:
    """A dataset that is interrupted after so many batches."""

    def __init__(self, dataset, batches, error=KeyboardInterrupt):
        self.dataset, self.left, self.error = dataset, batches, error
        self.pairs, self.names = dataset.pairs, dataset.names

    def __len__(self):
        return len(self.dataset)

    def __getitems__(self, positions):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return self.dataset.__getitems__(positions)


def test_resume_equals_an_uninterrupted_run_bit_for_bit(splits, tmp_path, capsys):
    whole = small()
    expected = fit(whole, splits.train, splits.val, QUICK, device="cpu", folder=tmp_path / "whole")
    steps = -(-len(splits.train) // QUICK.batch_size)
    first = small()
    cut = _Stop(splits.train, 2 * steps + 1)  # in the third epoch, after some of its steps
    history = fit(first, cut, splits.val, QUICK, device="cpu", folder=tmp_path)
    assert "2 of 4 epochs are finished" in capsys.readouterr().out
    assert history["train_loss"] == expected["train_loss"][:2]
    torch.manual_seed(99)  # another session: other random numbers, other initial weights
    second = UNet(base_channels=4, depth=2)
    history = fit(second, splits.train, splits.val, QUICK, device="cpu", folder=tmp_path, resume=True)
    for key in ("train_loss", "val_loss", "val_miou", "learning_rate"):
        assert history[key] == expected[key]
    assert same(second.state_dict(), whole.state_dict())
    last = [read_checkpoint(folder / "last.pt") for folder in (tmp_path / "whole", tmp_path)]
    assert same(last[0]["model"], last[1]["model"])  # not only the best weights, which may be early ones


def test_stopped_in_the_first_epoch_leaves_a_usable_checkpoint(splits, tmp_path):
    history = fit(small(), _Stop(splits.train, 1), splits.val, QUICK, device="cpu", folder=tmp_path)
    assert history["train_loss"] == []
    history = fit(small(), splits.train, splits.val, QUICK, device="cpu", folder=tmp_path, resume=True)
    assert history["train_loss"] == fit(small(), splits.train, splits.val, QUICK, device="cpu")["train_loss"]


def test_loss_that_is_not_finite_stops_at_once_and_keeps_what_was_finished(splits, tmp_path, monkeypatch):
    real = LOSSES[QUICK.loss]
    steps = iter(range(10**6))
    first_epoch = -(-len(splits.train) // QUICK.batch_size)

    def breaks_in_the_second_epoch(logits, target):
        return real(logits, target) * (math.nan if next(steps) > first_epoch else 1)

    monkeypatch.setitem(LOSSES, QUICK.loss, breaks_in_the_second_epoch)
    with pytest.raises(FloatingPointError, match=r"nan in epoch 2, step 1: try a learning_rate below 0\.003"):
        fit(small(), splits.train, splits.val, QUICK, device="cpu", folder=tmp_path)
    last = read_checkpoint(tmp_path / "last.pt")
    assert len(last["history"]["train_loss"]) == 1
    assert same(last["model"], read_checkpoint(tmp_path / "best.pt")["model"])
    assert all(torch.isfinite(value).all() for value in last["model"].values())


def test_resume_refuses_another_model_or_config(splits, tmp_path):
    fit(small(), splits.train, splits.val, TrainingConfig(epochs=1, batch_size=8), device="cpu", folder=tmp_path)
    for model, config, part in (
        (UNet(base_channels=8, depth=2), TrainingConfig(epochs=1, batch_size=8), "model_config"),
        (small(), TrainingConfig(epochs=2, batch_size=8), "config"),
    ):
        with pytest.raises(ValueError, match=rf"last\.pt was made with {part} .* train with resume=False"):
            fit(model, splits.train, splits.val, config, device="cpu", folder=tmp_path, resume=True)
    fewer = SegmentationDataset(splits.train.pairs, splits.train.indices[:8])
    with pytest.raises(ValueError, match=r"last\.pt was made with data .* not .*'training_pairs': 8"):
        fit(
            small(),
            fewer,
            splits.val,
            TrainingConfig(epochs=1, batch_size=8),
            device="cpu",
            folder=tmp_path,
            resume=True,
        )


def test_resume_refuses_other_pairs_and_names_only_what_differs(splits, tmp_path):
    once = TrainingConfig(epochs=1, batch_size=8)
    first, second = (SegmentationDataset(splits.train.pairs, rows) for rows in splits.train.indices[:16].split(8))
    fit(small(), first, splits.val, once, device="cpu", folder=tmp_path)
    with pytest.raises(ValueError, match=r"made with data \{'names': '\w+'\}, not \{'names': '\w+'\}: use the same"):
        fit(small(), second, splits.val, once, device="cpu", folder=tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"config \{'epochs': 1\}, not \{'epochs': 2\}: .*cannot be made longer"):
        longer = TrainingConfig(epochs=2, batch_size=8)
        fit(small(), first, splits.val, longer, device="cpu", folder=tmp_path, resume=True)


def test_nothing_to_train_or_validate_on_is_refused_before_training(splits, tmp_path):
    none = SegmentationDataset(splits.val.pairs, [])
    for train, val, part in ((none, splits.val, "training"), (splits.train, none, "validation")):
        with pytest.raises(ValueError, match=f"no {part} pairs"):
            fit(small(), train, val, QUICK, device="cpu", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_validation_masks_that_are_ignored_altogether_stop_the_run(splits):
    pairs = replace(splits.val.pairs, masks=torch.full_like(splits.val.pairs.masks, 255))
    with pytest.raises(ValueError, match="no pixel of the validation masks counts"):
        fit(small(), splits.train, SegmentationDataset(pairs, [0, 1]), QUICK, device="cpu")


def test_devices_and_folders_may_be_given_as_text_or_objects(splits, tmp_path):
    once, few = TrainingConfig(epochs=1, batch_size=8), SegmentationDataset(splits.val.pairs, [0, 1])
    fit(small(), few, few, once, device=torch.device("cpu"), folder=str(tmp_path / "run"))
    assert (tmp_path / "run" / "best.pt").is_file()


def test_evaluation_does_not_depend_on_batches_or_mode(splits):
    model = small().train()
    a, b = (evaluate(model, splits.val, size, device="cpu") for size in (1, 7))
    assert torch.equal(a.confusion.per_image, b.confusion.per_image)
    assert a.loss == pytest.approx(b.loss, rel=1e-5)
    assert len(a.confusion.per_image) == len(splits.val)


@pytest.mark.parametrize("setting", [{"loss": "focal"}, {"schedule": "steps"}, {"epochs": 0}])
def test_bad_settings_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        TrainingConfig(**setting)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu_where_one_is_asked_for():
    with pytest.raises(RuntimeError, match=r"'cuda' was asked for.*use 'auto' or 'cpu'"):
        pick_device("cuda")
    assert pick_device("cpu").type == "cpu"


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(RuntimeError, match="'cuda:7' was asked for"):
        pick_device("cuda:7")


def test_unknown_device():
    with pytest.raises(RuntimeError, match="'tpu' was asked for"):
        pick_device("tpu")


def test_precision_by_device():
    cpu = torch.device("cpu")
    assert pick_precision(cpu, None) is None
    assert pick_precision(cpu, True) is torch.bfloat16


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_trains_on_cuda(splits, tmp_path):
    history = fit(small(), splits.train, splits.val, QUICK, device="cuda", folder=tmp_path)
    assert history["train_loss"][-1] < history["train_loss"][0]
