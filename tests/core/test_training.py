import copy
import math
import random
import warnings

from helpers.checkpoint import load_model, read_checkpoint
from helpers.constants import IGNORE_INDEX
from helpers.data import SegmentationDataset, describe, make_loader
from helpers.inference import evaluate
from helpers.losses import LOSSES, cross_entropy_and_dice
from helpers.model import UNet
from helpers.training import TrainingConfig, TrainingState, fit, train_one_epoch
from helpers.transforms import default_augmentation

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, Dataset

QUICK = TrainingConfig(epochs=4)
NUMBERS = ("train_loss", "val_loss", "val_miou", "learning_rate")


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def data(pairs):
    """Eight discs to train on, augmented, and four to validate on."""
    train = SegmentationDataset(pairs, list(range(8)), default_augmentation())
    return train, SegmentationDataset(pairs, list(range(8, 12)))


@pytest.fixture
def loaders(data):
    train, val = data
    return make_loader(train, 3, shuffle=True), make_loader(val, 3)


@pytest.fixture
def train(loaders):
    """`fit` on the CPU, quietly."""

    def run(model, train_loader=None, config=QUICK, **options):
        options = {"device": "cpu", "progress": False} | options
        return fit(model, train_loader or loaders[0], loaders[1], config, **options)

    return run


class Breaks:
    """A loader that raises an error in place of its n-th batch, counted over all epochs."""

    def __init__(self, loader, batches, error=KeyboardInterrupt):
        self.loader, self.left, self.error = loader, batches, error
        self.dataset, self.generator = loader.dataset, loader.generator

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for batch in self.loader:
            self.left -= 1
            if self.left < 0:
                raise self.error
            yield batch


class TestLearns:
    def test_overfits_one_batch(self, pairs):
        """The whole chain can learn: eight pairs are learned by heart."""
        few = make_loader(SegmentationDataset(pairs, list(range(8))), 8)
        torch.manual_seed(0)
        model = UNet(base_channels=8, depth=2)
        config = TrainingConfig(epochs=60, learning_rate=1e-2)
        history = fit(model, few, few, config, device="cpu", progress=False)
        assert history["train_loss"][0] > 1 > 0.2 > history["train_loss"][-1]
        assert evaluate(model, few).confusion.mean_iou() > 0.9

    def test_the_initial_loss_is_near_ln_3(self, loaders, small):
        assert evaluate(small(), loaders[1]).loss == pytest.approx(math.log(3), abs=0.35)

    @pytest.mark.parametrize("loss", LOSSES)
    def test_with_every_loss_and_one_cycle_of_the_learning_rate(self, train, small, loss):
        config = TrainingConfig(epochs=6, loss=loss, learning_rate=1e-2)
        history = train(small(), config=config)
        assert history["train_loss"][-1] < history["train_loss"][0]
        rates = history["learning_rate"]
        assert rates[0] == pytest.approx(1e-2 / 25) and max(rates) <= 1e-2
        assert rates.index(max(rates)) == 2 and rates[-1] < 2e-3

    def test_in_bfloat16_it_stays_close(self, train, small):
        plain = train(small())
        mixed = train(small(), config=TrainingConfig(epochs=4, precision="bfloat16"))
        assert mixed["train_loss"] != plain["train_loss"]
        assert mixed["train_loss"] == pytest.approx(plain["train_loss"], rel=0.1)


class TestOneEpoch:
    """The pass is what notebook 04 builds: nothing more, nothing less."""

    def start(self, model, config=QUICK, steps=12, precision=None):
        return TrainingState.start(model, config, steps, precision)

    @pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
    def test_two_equal_a_plain_loop_bit_for_bit(self, loaders, small, precision):
        config, batches = TrainingConfig(clip_norm=0.5), list(loaders[0])
        ours = self.start(small(), config, steps=6, precision=precision)
        losses = [train_one_epoch(ours, batches, config, precision) for _ in range(2)]

        model = small().train()
        optimizer = AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
        schedule = OneCycleLR(optimizer, 3e-3, total_steps=6)
        scaler = torch.amp.GradScaler("cpu", enabled=precision is torch.float16)
        expected = []
        for _ in range(2):
            total = 0.0
            for images, masks in batches:
                images = images.to(memory_format=torch.channels_last)
                with torch.autocast("cpu", precision, enabled=precision is not None):
                    logits = model(images)
                loss = cross_entropy_and_dice(logits, masks)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                scaler.step(optimizer)
                scaler.update()
                schedule.step()
                total += loss.item() * len(images)
            expected.append(total / 8)

        assert same(ours.model.state_dict(), model.state_dict())
        assert losses == pytest.approx(expected, rel=1e-6)

    def test_leaves_the_model_in_training_mode(self, loaders, small):
        state = self.start(small().eval())
        train_one_epoch(state, loaders[0], QUICK)
        assert state.model.training

    @pytest.mark.parametrize("precision", [None, torch.float16])
    def test_gradients_are_clipped_in_their_own_scale(self, loaders, small, precision):
        config, norms = TrainingConfig(clip_norm=0.01), []

        def norm(model, loss):
            gradients = [p.grad.flatten() for p in model.parameters()]
            norms.append(torch.cat(gradients).norm().item())

        state = self.start(small(), config, precision=precision)
        train_one_epoch(state, loaders[0], config, precision, after_step=norm)
        assert len(norms) == 3 and norms == pytest.approx([0.01] * 3, rel=1e-3)
        norms.clear()
        train_one_epoch(state, loaders[0], TrainingConfig(clip_norm=1e6), precision, norm)
        assert min(norms) > 0.011

    def test_an_overflow_in_float16_leaves_the_step_out(self, loaders, small):
        state = self.start(small(), precision=torch.float16)
        batch, before = next(iter(loaders[0])), copy.deepcopy(state.model.state_dict())
        state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 2.0**60})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch on a schedule that begins without a step
            train_one_epoch(state, [batch], QUICK, torch.float16)
        weights = dict(state.model.named_parameters())
        assert all(torch.equal(weights[name], before[name]) for name in weights)
        assert state.scaler.get_scale() == 2.0**59

        state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 2.0**10})
        train_one_epoch(state, [batch], QUICK, torch.float16)
        assert not any(torch.equal(weights[name], before[name]) for name in weights)

    def test_the_scaler_is_on_in_float16_alone(self, small):
        on = [self.start(small(), precision=p).scaler.is_enabled() for p in (torch.float16, None)]
        assert on == [True, False]
        assert not self.start(small(), precision=torch.bfloat16).scaler.is_enabled()

    def test_does_not_wait_for_the_device_between_steps(self, loaders, small):
        """No number is read from a tensor until the last step is done.

        On a GPU, reading one waits for all that was asked of it. Two reads that are none there are
        kept out: AdamW's count of steps, which lies on the CPU, and the range check of `one_hot`,
        which torch makes on the CPU alone. Below is the test of a whole step, for a GPU.
        """
        model, reads, steps = small(), [], []
        optimizer = SGD(model.parameters(), lr=0.1)
        schedule, scaler = LambdaLR(optimizer, lambda step: 1), torch.amp.GradScaler(enabled=False)

        class Watch(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                if function is torch.ops.aten._local_scalar_dense.default:
                    reads.append(len(steps))
                return function(*args, **(kwargs or {}))

        batches = list(loaders[0])
        with Watch():
            state = TrainingState(model, optimizer, schedule, scaler)
            hook = lambda model, loss: steps.append(loss)  # noqa: E731
            train_one_epoch(state, batches, TrainingConfig(loss="ce"), after_step=hook)
        assert len(steps) == 3 and set(reads) == {3}  # the last reads: are all losses finite?

    def test_the_mean_loss_is_that_of_a_sample(self, loaders, small, monkeypatch):
        values = iter([1.0, 2.0, 6.0])
        monkeypatch.setitem(LOSSES, "dice", lambda logits, masks: logits.sum() * 0 + next(values))
        config = TrainingConfig(loss="dice")
        mean = train_one_epoch(self.start(small(), config), loaders[0], config)
        assert mean == pytest.approx((3 * 1 + 3 * 2 + 2 * 6) / 8)

    def test_a_hook_keeps_a_moving_average(self, loaders, small):
        """An EMA of the weights, without any change to the loop."""
        model, seen = small(), []
        average = torch.optim.swa_utils.AveragedModel(
            model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
        )

        def hook(trained, loss):
            average.update_parameters(trained)
            seen.append((trained.head.bias.detach().clone(), loss))

        fit(model, *loaders, QUICK, device="cpu", progress=False, after_step=hook)
        expected = seen[0][0]
        for bias, _ in seen[1:]:
            expected = 0.9 * expected + 0.1 * bias
        assert len(seen) == 12 and all(not loss.requires_grad for _, loss in seen)
        assert torch.allclose(average.module.head.bias, expected, atol=1e-6)


class Foreign(Dataset):
    """As torchvision's VOCSegmentation with transforms: tensors, and neither source nor breeds."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        mask = torch.randint(4, (16, 16), generator=generator)
        mask[:2] = IGNORE_INDEX
        return torch.randn(3, 16, 16, generator=generator), mask


class TestAnyLoaders:
    def test_a_list_of_two_batches(self, small):
        batches = [(torch.randn(n, 3, 8, 8), torch.randint(3, (n, 8, 8))) for n in (4, 2)]
        history = fit(small(), batches, batches[:1], QUICK, device="cpu", progress=False)
        assert [len(history[key]) for key in (*NUMBERS, "seconds")] == [4] * 5
        assert history["train_loss"][-1] < history["train_loss"][0]

    def test_a_foreign_dataset_with_other_classes(self, small, tmp_path):
        loader, model = DataLoader(Foreign(6), 4, shuffle=True), small(num_classes=4)
        history = fit(
            model,
            loader,
            DataLoader(Foreign(3)),
            QUICK,
            device="cpu",
            folder=tmp_path,
            progress=False,
        )
        assert history["train_loss"][-1] < history["train_loss"][0]
        scored = evaluate(model, DataLoader(Foreign(3), 2))
        assert scored.confusion.matrix.sum() == 3 * 14 * 16
        assert scored.confusion.matrix.shape == (4, 4)

    def test_their_order_is_part_of_a_resumed_run_too(self, small, tmp_path):
        def run(loader, **options):
            model, val, quiet = small(num_classes=4), DataLoader(Foreign(3)), {"progress": False}
            return fit(model, loader, val, QUICK, device="cpu", **quiet, **options)

        loader = DataLoader(Foreign(6), 2, shuffle=True)  # no generator of its own
        expected = run(loader)
        run(Breaks(loader, 7), folder=tmp_path, interruptible=True)
        resumed = run(loader, folder=tmp_path, resume=True)
        assert resumed["train_loss"] == expected["train_loss"]

    def test_nothing_to_train_or_validate_on_is_refused_first(
        self, pairs, loaders, small, tmp_path
    ):
        none = make_loader(SegmentationDataset(pairs, []))
        for train, val in ((none, loaders[1]), (loaders[0], none), ([], loaders[1])):
            with pytest.raises(ValueError, match="nothing to train or to validate on"):
                fit(small(), train, val, QUICK, device="cpu", folder=tmp_path)
        assert not list(tmp_path.iterdir())


class TestBest:
    def test_the_model_ends_with_the_best_weights(self, train, loaders, small, tmp_path):
        model = small()
        history = train(model, folder=tmp_path)
        best = read_checkpoint(tmp_path / "best.pt")
        assert best["val_miou"] == max(history["val_miou"])
        assert best["epoch"] == history["val_miou"].index(best["val_miou"]) + 1
        assert same(best["model"], model.state_dict())
        assert evaluate(model, loaders[1]).confusion.mean_iou() == best["val_miou"]

    def test_a_later_worse_epoch_does_not_replace_them(self, train, loaders, small):
        """A hook spoils the weights from the third epoch on."""
        model, steps = small(), iter(range(1, 99))

        def spoil(model, loss):
            if next(steps) > 6:
                nn.init.zeros_(model.head.weight)

        history = train(model, after_step=spoil)
        assert max(history["val_miou"]) == max(history["val_miou"][:2])
        assert evaluate(model, loaders[1]).confusion.mean_iou() == max(history["val_miou"])

    def test_what_is_known_travels_with_them(self, train, data, small, tmp_path):
        train(small(), folder=str(tmp_path / "run"), about=describe(*data))
        best = read_checkpoint(tmp_path / "run" / "best.pt")
        assert best["dataset"] == "discs" and best["class_names"][2] == "border"
        assert best["config"]["learning_rate"] == 3e-3 and best["precision"] == "float32"
        assert best["device"] == "cpu" and best["model_config"]["depth"] == 2

    def test_what_fit_keeps_itself_stays(self, train, small, tmp_path):
        about = {"model_config": {}, "model": "small", "epoch": 9, "format": "png", "best": None}
        first, again = (
            train(small(), folder=tmp_path, resume=resume, about=about) for resume in (False, True)
        )
        assert again == first and first  # all epochs were there
        assert load_model(tmp_path / "best.pt")[1]["model_config"]["depth"] == 2

    def test_what_cannot_be_kept_is_refused_before_the_first_step(self, train, small, tmp_path):
        steps, about = [], {"data": tmp_path}
        options = {"about": about, "after_step": lambda model, loss: steps.append(loss)}
        with pytest.raises(TypeError, match=r"\w+Path is not JSON serializable"):
            train(small(), folder=tmp_path / "run", **options)
        assert not steps and not (tmp_path / "run").exists()
        train(small(), **options)  # where nothing is kept, anything may be said
        assert len(steps) == 12

    def test_validation_masks_that_are_ignored_whole_stop_the_run(self, loaders, small):
        val = [(torch.randn(1, 3, 8, 8), torch.full((1, 8, 8), IGNORE_INDEX))]
        with pytest.raises(ValueError, match="no pixel of the validation masks counts"):
            fit(small(), loaders[0], val, QUICK, device="cpu", progress=False)


class TestInterrupted:
    def test_raises_again_so_that_a_script_stops(self, train, loaders, small, tmp_path, capsys):
        model = small()
        with pytest.raises(KeyboardInterrupt):
            train(model, Breaks(loaders[0], 7), folder=tmp_path)
        assert "Interrupted: 2 of 4 epochs are finished" in capsys.readouterr().out
        assert same(model.state_dict(), read_checkpoint(tmp_path / "best.pt")["model"])
        assert read_checkpoint(tmp_path / "last.pt")["epoch"] == 2

    def test_in_a_notebook_it_ends_early_and_says_so(self, train, loaders, small, capsys):
        model, whole = small(), train(small())
        history = train(model, Breaks(loaders[0], 7), interruptible=True)
        assert "Interrupted: 2 of 4 epochs are finished" in capsys.readouterr().out
        assert history["train_loss"] == whole["train_loss"][:2]
        miou = evaluate(model, loaders[1]).confusion.mean_iou()
        assert miou == max(history["val_miou"])

    def test_in_the_first_epoch_leaves_the_first_weights(self, train, loaders, small, tmp_path):
        model = small()
        history = train(model, Breaks(loaders[0], 1), folder=tmp_path, interruptible=True)
        assert history == {} and same(model.state_dict(), small().state_dict())
        resumed = train(small(), folder=tmp_path, resume=True)
        assert resumed["train_loss"] == train(small())["train_loss"]

    def test_other_errors_keep_the_best_weights_too(self, train, loaders, small, tmp_path):
        model = small()
        with pytest.raises(RuntimeError, match="out of memory"):
            broken = Breaks(loaders[0], 7, RuntimeError("out of memory"))
            train(model, broken, folder=tmp_path, interruptible=True)
        assert same(model.state_dict(), read_checkpoint(tmp_path / "best.pt")["model"])

    def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_finished(
        self, train, small, tmp_path, monkeypatch
    ):
        real, steps = LOSSES["ce+dice"], iter(range(99))

        def breaks(logits, target):
            return real(logits, target) * (math.nan if next(steps) == 4 else 1)

        monkeypatch.setitem(LOSSES, "ce+dice", breaks)
        with pytest.raises(FloatingPointError, match=r"nan in epoch 2, step 1: try a lower"):
            train(small(), folder=tmp_path)
        last = read_checkpoint(tmp_path / "last.pt")
        assert last["epoch"] == len(last["history"]["train_loss"]) == 1
        assert all(torch.isfinite(value).all() for value in last["model"].values())

    def test_so_does_a_network_that_the_last_step_of_an_epoch_has_spoiled(
        self, train, small, loaders, tmp_path
    ):
        """No loss of the training has seen it. mIoU would be a number: of one class everywhere."""
        model, last = small(), 2 * len(loaders[0])
        steps = iter(range(1, 99))

        def spoils(model, loss):
            if next(steps) == last:
                model.head.bias.data.fill_(math.nan)

        with pytest.raises(FloatingPointError, match=r"nan in the validation of epoch 2: try a"):
            train(model, folder=tmp_path, after_step=spoils)
        assert read_checkpoint(tmp_path / "last.pt")["epoch"] == 1
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())


class TestResume:
    @pytest.mark.parametrize("precision", ["float32", "float16"])
    def test_equals_an_uninterrupted_run_bit_for_bit(
        self, train, loaders, small, tmp_path, precision
    ):
        config = TrainingConfig(epochs=4, precision=precision)
        whole = small()
        expected = train(whole, config=config, folder=tmp_path / "whole")
        cut = {"folder": tmp_path / "cut", "interruptible": True}
        train(small(), Breaks(loaders[0], 7), config, **cut)  # in the third epoch

        second = small(seed=99)  # another session: other weights, other random numbers
        history = train(second, config=config, folder=tmp_path / "cut", resume=True)
        assert {key: history[key] for key in NUMBERS} == {key: expected[key] for key in NUMBERS}
        assert same(second.state_dict(), whole.state_dict())
        a, b = (read_checkpoint(tmp_path / run / "last.pt") for run in ("whole", "cut"))
        assert same(a["model"], b["model"]) and a["scaler"] == b["scaler"]

    def test_workers_may_change_and_no_bit_does(self, train, data, loaders, small, tmp_path):
        expected, folder = train(small()), {"folder": tmp_path, "interruptible": True}
        cut = Breaks(make_loader(data[0], 3, shuffle=True, num_workers=2), 7)
        train(small(), cut, **folder, about=describe(*data))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            history = train(small(), **folder, resume=True, about=describe(*data))
        assert history["train_loss"] == expected["train_loss"]
        assert history["val_miou"] == expected["val_miou"]

    def test_every_generator_goes_on(self, pairs, loaders, small, tmp_path):
        """An own hook that draws from NumPy, Python and torch sees what it would have seen."""

        def run(steps=99, **options):
            drawn = []

            def draw(model, loss):
                drawn.append((np.random.rand(), random.random(), torch.rand(()).item()))

            cut = Breaks(loaders[0], steps)
            options = {"device": "cpu", "progress": False, "interruptible": True} | options
            fit(small(), cut, loaders[1], QUICK, after_step=draw, **options)
            return drawn

        expected = run()
        run(steps=6, folder=tmp_path)
        assert run(folder=tmp_path, resume=True) == expected[6:]
        assert len(set(expected)) == 12

    def test_of_a_finished_run_trains_no_more(self, train, small, tmp_path):
        model = small()
        expected = train(model, folder=tmp_path)
        again = small(seed=9)
        assert train(again, folder=tmp_path, resume=True) == expected
        assert same(again.state_dict(), model.state_dict())

    @pytest.mark.parametrize("first", ["float32", "bfloat16", "float16"])
    @pytest.mark.parametrize("second", ["float32", "bfloat16", "float16"])
    def test_in_another_precision_goes_on_with_a_warning(
        self, train, loaders, small, tmp_path, first, second
    ):
        """A run of a CPU, or in bfloat16, goes on in float16: on a T4, for example."""
        configs = (TrainingConfig(epochs=2, precision=name) for name in (first, second))
        train(small(), Breaks(loaders[0], 4), next(configs), folder=tmp_path, interruptible=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = train(small(), config=next(configs), folder=tmp_path, resume=True)
        told = [str(w.message) for w in caught if "numbers will differ" in str(w.message)]
        if first == second:
            assert told == []
        else:
            assert len(told) == 1 and f"precision {first}, and goes on with {second}" in told[0]
            assert [w.filename for w in caught if "numbers" in str(w.message)] != []
        assert len(history["train_loss"]) == 2 and np.isfinite(history["train_loss"]).all()

    def test_on_another_device_goes_on_with_a_warning(self, train, loaders, small, tmp_path):
        train(small(), Breaks(loaders[0], 4), folder=tmp_path, interruptible=True)
        state = read_checkpoint(tmp_path / "last.pt")
        torch.save(state | {"device": "cuda"}, tmp_path / "last.pt")
        with pytest.warns(UserWarning, match="made with device cuda, and goes on with cpu"):
            history = train(small(), folder=tmp_path, resume=True)
        assert len(history["train_loss"]) == 4

    @pytest.mark.parametrize(
        ("model", "config", "message"),
        [
            ({"base_channels": 8}, {}, r"model_config .*'base_channels': 4"),
            ({}, {"epochs": 5}, r"config .*'epochs': 4.*cannot be made longer"),
            ({}, {"loss": "ce"}, r"config .*'loss': 'ce\+dice'"),
            ({}, {"seed": 1}, r"config .*'seed': 0"),
        ],
    )
    def test_refuses_another_model_or_config(self, train, small, tmp_path, model, config, message):
        train(small(), folder=tmp_path)
        other = TrainingConfig(**({"epochs": 4} | config))
        with pytest.raises(ValueError, match=rf"last\.pt was made with {message}.*another folder"):
            train(small(**model), config=other, folder=tmp_path, resume=True)

    def test_refuses_other_data(self, train, pairs, data, small, tmp_path):
        train(small(), folder=tmp_path, about=describe(*data))
        others = SegmentationDataset(pairs, list(range(1, 9)))
        with pytest.raises(ValueError, match=r"made with data_hash .*, not .*another folder"):
            train(small(), folder=tmp_path, about=describe(others, data[1]), resume=True)
        with pytest.raises(ValueError, match=r"made with .*, not None"):
            train(small(), folder=tmp_path, resume=True)
        with pytest.raises(ValueError, match="made with steps_per_epoch 3, not 8"):
            train(small(), make_loader(data[0], 1), folder=tmp_path, resume=True)

    def test_of_another_edition_says_what_to_do(self, train, small, tmp_path):
        model = small()
        old = {"model": model.state_dict(), "model_config": model.config, "history": {}}
        torch.save(old, tmp_path / "last.pt")
        with pytest.raises(ValueError, match=r"another edition .*train again"):
            train(model, folder=tmp_path, resume=True)

    def test_without_it_an_earlier_run_is_kept_under_other_names(self, train, small, tmp_path):
        train(small(), folder=tmp_path)
        before = {name: (tmp_path / f"{name}.pt").read_bytes() for name in ("best", "last")}
        train(small(seed=5), folder=tmp_path)
        for name, content in before.items():
            assert (tmp_path / f"{name}.1.pt").read_bytes() == content
            assert (tmp_path / f"{name}.pt").read_bytes() != content

    def test_with_it_and_without_a_run_begins(self, train, small, tmp_path):
        history = train(small(), folder=tmp_path / "new", resume=True)
        assert len(history["train_loss"]) == 4 and (tmp_path / "new" / "last.pt").exists()


class WithEncoder(nn.Module):
    """A model with an encoder, as `PretrainedUNet` has one."""

    def __init__(self, encoder_size=4):
        super().__init__()
        self.encoder = nn.Conv2d(3, encoder_size, kernel_size=3, padding=1)
        self.encoder_norm = nn.BatchNorm2d(encoder_size)  # not of the encoder: another name
        self.head = nn.Conv2d(encoder_size, 3, kernel_size=1)

    def forward(self, images):
        return self.head(self.encoder_norm(self.encoder(images)).relu())


class TestEncoderRate:
    CONFIG = TrainingConfig(epochs=4, learning_rate=1e-2, encoder_rate=0.1)

    def start(self, model, config=CONFIG):
        return TrainingState.start(model, config, 12, None)

    def names(self, model, group):
        return {n for n, p in model.named_parameters() if any(p is q for q in group["params"])}

    def test_two_groups(self):
        model = WithEncoder()
        rest, encoder = self.start(model).optimizer.param_groups
        assert self.names(model, encoder) == {"encoder.weight", "encoder.bias"}
        assert self.names(model, rest) == {n for n, _ in model.named_parameters()} - {
            "encoder.weight",
            "encoder.bias",
        }
        assert rest["weight_decay"] == encoder["weight_decay"] == 1e-2

    def test_a_model_without_an_encoder_has_one(self, small):
        groups = self.start(small()).optimizer.param_groups
        assert len(groups) == 1 and len(groups[0]["params"]) == len(list(small().parameters()))
        assert groups[0]["max_lr"] == 1e-2

    def test_a_frozen_encoder_is_in_none(self):
        model = WithEncoder()
        model.encoder.requires_grad_(False)
        (group,) = self.start(model).optimizer.param_groups
        assert not any(name.startswith("encoder.") for name in self.names(model, group))

    def test_both_go_through_the_cycle_and_the_history_tells_the_decoders(self, train):
        rates = []

        class Seen(AdamW):
            def step(self, *arguments, **options):
                rates.append([group["lr"] for group in self.param_groups])
                return super().step(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("helpers.training.AdamW", Seen)
            history = train(WithEncoder(), config=self.CONFIG)
        assert len(rates) == 12
        decoder, encoder = zip(*rates, strict=True)
        assert encoder == pytest.approx([0.1 * rate for rate in decoder])
        plain = OneCycleLR(SGD([torch.zeros(1)], lr=1e-2), 1e-2, total_steps=12)
        assert decoder[0] == pytest.approx(plain.get_last_lr()[0])
        assert max(decoder) == pytest.approx(1e-2, rel=0.05)
        assert history["learning_rate"] == pytest.approx(decoder[::3])

    def test_it_makes_the_encoder_slower(self, train):
        """A rate of nearly 0 leaves it where it was, and the rest learns."""
        model = WithEncoder()
        before = copy.deepcopy(model.state_dict())
        train(model, config=TrainingConfig(epochs=1, encoder_rate=1e-9))
        after = model.state_dict()
        assert torch.allclose(after["encoder.weight"], before["encoder.weight"], atol=1e-8)
        assert not torch.allclose(after["head.weight"], before["head.weight"], atol=1e-4)

    def test_one_is_the_same_as_no_encoder(self, train):
        """1 is the default: the groups are two, the numbers are those of one."""
        torch.manual_seed(0)
        model = WithEncoder()
        other = copy.deepcopy(model)
        other.body = other.encoder
        del other.encoder
        other.forward = lambda x: other.head(other.encoder_norm(other.body(x)).relu())
        two, one = (train(each, config=TrainingConfig(epochs=2)) for each in (model, other))
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-5)

    def test_resumed_with_both_rates(self, train, loaders, tmp_path):
        def model(seed=1):
            torch.manual_seed(seed)
            return WithEncoder()

        whole, cut = {"folder": tmp_path / "whole"}, {"folder": tmp_path / "cut"}
        expected = train(model(), config=self.CONFIG, **whole)
        train(model(), Breaks(loaders[0], 7), self.CONFIG, interruptible=True, **cut)
        history = train(model(seed=9), config=self.CONFIG, resume=True, **cut)
        assert {key: history[key] for key in NUMBERS} == {key: expected[key] for key in NUMBERS}
        a, b = (read_checkpoint(run["folder"] / "last.pt") for run in (whole, cut))
        assert same(a["model"], b["model"]) and a["schedule"] == b["schedule"]
        groups = b["optimizer"]["param_groups"]
        assert [group["max_lr"] for group in groups] == [1e-2, pytest.approx(1e-3)]

        with pytest.raises(ValueError, match=r"config .*'encoder_rate': 0\.1"):
            train(model(), config=TrainingConfig(epochs=4, learning_rate=1e-2), resume=True, **cut)


class TestSeeds:
    def test_the_seed_decides_order_and_augmentation(self, train, small):
        runs = [train(small(), config=TrainingConfig(epochs=2, seed=s)) for s in (0, 0, 1)]
        assert runs[0]["train_loss"] == runs[1]["train_loss"] != runs[2]["train_loss"]

    def test_epochs_differ(self, train, data, small):
        seen = []

        def look(image, mask):
            seen.append(torch.rand(()).item())
            return image, mask

        data[0].augment = look
        train(small(), make_loader(data[0], 3), config=TrainingConfig(epochs=2))
        assert len(seen) == len(set(seen)) == 16


class TestConfig:
    @pytest.mark.parametrize(
        "setting",
        [
            {"loss": "focal"},
            {"precision": "half"},
            {"epochs": 0},
            {"epochs": 1.5},
            {"epochs": 2.0},
            {"seed": 1.5},
            {"learning_rate": -1},
            {"clip_norm": 0},
            {"learning_rate": math.nan},
            {"encoder_rate": 0},
            {"encoder_rate": -0.1},
            {"encoder_rate": math.nan},
        ],
    )
    def test_bad_settings_are_refused(self, setting):
        with pytest.raises(ValueError, match=rf"^{next(iter(setting))} must be"):
            TrainingConfig(**setting)

    def test_defaults_are_those_of_the_notebooks(self):
        default = TrainingConfig()
        assert (default.epochs, default.learning_rate, default.weight_decay) == (160, 3e-3, 1e-2)
        assert (default.loss, default.clip_norm, default.seed) == ("ce+dice", 1.0, 0)
        assert default.encoder_rate == 1

    def test_an_own_loss_by_name(self, train, small, monkeypatch):
        monkeypatch.setitem(LOSSES, "own", lambda logits, target: logits.square().mean())
        history = train(small(), config=TrainingConfig(epochs=2, loss="own"))
        assert history["train_loss"][-1] < history["train_loss"][0]


def test_progress_is_shown_if_asked_for(train, small, capsys):
    train(small(), config=TrainingConfig(epochs=1))
    assert capsys.readouterr().out == ""
    history = train(small(), config=TrainingConfig(epochs=1), progress=True)
    shown = capsys.readouterr().out
    assert f"validation mIoU {history['val_miou'][0]:.3f}" in shown and "1/1" in shown


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_trains_and_goes_on_with_cuda(train, loaders, small, tmp_path, precision):
    config = TrainingConfig(epochs=4, precision=precision)
    options = {"device": "cuda", "folder": tmp_path, "interruptible": True}
    train(small(), Breaks(loaders[0], 7), config, **options)
    history = train(small(), None, config, resume=True, **options)
    assert history["train_loss"][-1] < history["train_loss"][0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_one_epoch_does_not_wait_for_cuda(loaders, small):
    state = TrainingState.start(small().cuda(), QUICK, 12, torch.bfloat16)
    batches = [(images.pin_memory(), masks.pin_memory()) for images, masks in loaders[0]]
    train_one_epoch(state, batches, QUICK, torch.bfloat16)  # the first steps set things up

    def watched():
        for i, batch in enumerate(batches):
            torch.cuda.set_sync_debug_mode("error" if i < len(batches) - 1 else "default")
            yield batch

    try:
        train_one_epoch(state, watched(), QUICK, torch.bfloat16)
    finally:
        torch.cuda.set_sync_debug_mode("default")
