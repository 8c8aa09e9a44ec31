"""Train a segmentation network: one loop for CPU, CUDA and Apple's MPS. Built in notebook 04."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from helpers.checkpoint import RunFolder
from helpers.data import random_state, seed_epoch, seed_random_numbers, set_random_state
from helpers.distributed import agree, everywhere, parallel, total
from helpers.inference import Evaluation, evaluate, memory_format, pick_device, pick_precision
from helpers.losses import LOSSES

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.utils.data import DataLoader
from tqdm import tqdm

Batches = DataLoader | Sequence[tuple[Tensor, Tensor]]
History = dict[str, list[float]]
Hook = Callable[[nn.Module, Tensor], Any]


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of a training run, besides the model and the data.

    Args:
        epochs: passes over the training samples.
        learning_rate: its highest value, in a schedule of one cycle: up, then down to nearly 0.
        weight_decay: of AdamW.
        loss: a name in `helpers.losses.LOSSES`: "ce" (cross-entropy), "dice", or their sum
        "ce+dice".
        clip_norm: gradients are scaled down to this norm at most.
        precision: "auto", "float32", "bfloat16" or "float16", see `helpers.inference`.
        seed: of the batches' order and the augmentation. The weights are drawn before, with the
        model.
        encoder_rate: the learning rate of `model.encoder`, if there is one that is pretrained, as a
        fraction of learning_rate.

    Raises ValueError for a name or number that is none of these.
    """

    epochs: int = 160
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    loss: str = "ce+dice"
    clip_norm: float = 1.0
    precision: str = "auto"
    seed: int = 0
    encoder_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss must be one of {tuple(LOSSES)}, not {self.loss!r}")
        pick_precision(torch.device("cpu"), self.precision)  # refuses another name
        for name, value in vars(self).items():
            if name in ("epochs", "seed") and not isinstance(value, int):
                raise ValueError(f"{name} must be a whole number, not {value}")
            if name in ("epochs", "learning_rate", "clip_norm", "encoder_rate") and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
            if name in ("weight_decay", "seed") and not 0 <= value < 2**32:
                raise ValueError(f"{name} must be from 0 to 2**32 - 1, not {value}")


@dataclass
class TrainingState:
    """All that a run needs to go on as if it had not stopped. It saves and restores itself.

    `history` holds what `fit` returns; `best` the weights, on the CPU, of the epoch with the
    highest validation mIoU so far.
    """

    model: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    epoch: int = 0
    history: History = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network = parallel(self.model)  # the model itself, in one process

    @classmethod
    def start(
        cls, model: nn.Module, config: TrainingConfig, steps: int, precision: torch.dtype | None
    ) -> "TrainingState":
        """The state before the first of `steps` steps. Seeds the generators of CPU and CUDA."""
        seed_random_numbers(config.seed)
        torch.cuda.manual_seed_all(config.seed)  # does nothing without CUDA
        groups = _parameter_groups(model, config)
        optimizer = AdamW(groups, weight_decay=config.weight_decay)
        schedule = OneCycleLR(optimizer, [group["lr"] for group in groups], total_steps=steps)

        # Only float16 needs it: its smallest number is 6e-8, and many gradients are smaller.
        device = next(model.parameters()).device
        scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)

        state = cls(model, optimizer, schedule, scaler)
        state.best = {"model": _copy(model), "val_miou": -1.0, "epoch": 0}
        return state

    def record(self, validation: Evaluation, **numbers: float) -> bool:
        """Note a finished epoch. Returns whether it is the best so far."""
        miou = validation.confusion.mean_iou()
        if np.isnan(miou):
            raise ValueError("no pixel of the validation masks counts: are all of them 255?")
        _check_finite(validation.loss, f"in the validation of epoch {self.epoch + 1}")

        self.epoch += 1
        for key, value in (numbers | {"val_loss": validation.loss, "val_miou": miou}).items():
            self.history.setdefault(key, []).append(value)

        if improved := miou > self.best["val_miou"]:
            self.best = {"model": _copy(self.model), "val_miou": miou, "epoch": self.epoch}
        return improved

    def state_dict(self) -> dict:
        """Tensors and plain values only: a checkpoint is read with weights_only=True."""
        parts = ("model", "optimizer", "schedule", "scaler")
        return {
            **{name: getattr(self, name).state_dict() for name in parts},
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
            "random": random_state() | {"cuda": torch.cuda.get_rng_state_all()},
        }

    def load_state_dict(self, saved: dict) -> None:
        """Go on from a saved state, also in another precision: the scaler then starts anew."""
        for name in ("model", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(saved[name])
        if saved["scaler"]:
            self.scaler.load_state_dict(saved["scaler"])

        self.epoch, self.history, self.best = saved["epoch"], saved["history"], saved["best"]
        set_random_state(saved["random"])
        # On fewer GPUs than before, those that are there.
        torch.cuda.set_rng_state_all(saved["random"]["cuda"][: torch.cuda.device_count()])


def train_one_epoch(
    state: TrainingState,
    loader: Batches,
    config: TrainingConfig,
    precision: torch.dtype | None = None,
    after_step: Hook | None = None,
) -> float:
    """One pass over the training samples. Returns the mean loss of a sample.

    It does not wait for the device between steps (a float16 scaler does).

    Args:
        state: from `TrainingState.start`; its model, optimizer, schedule and scaler are moved on.
        loader: batches of images (N, 3, H, W) and masks (N, H, W).
        config: loss and clip_norm are used here.
        precision: from `pick_precision`; None is float32.
        after_step: see `fit`.

    Raises FloatingPointError, at the end of the pass, if a loss was not finite.
    """
    model, optimizer, scaler = state.model, state.optimizer, state.scaler
    device = next(model.parameters()).device
    losses, sizes = [], []
    model.train()

    for images, masks in loader:
        # From pinned memory, a copy to a CUDA device goes on while the host prepares the next step.
        overlap = device.type == "cuda"
        images = images.to(device, non_blocking=overlap, memory_format=memory_format(device))
        masks = masks.to(device, non_blocking=overlap)

        # Convolutions in 16 bits, where that is asked for; the loss in 32.
        with torch.autocast(device.type, precision, enabled=precision is not None):
            logits = state.network(images)  # (N, C, H, W)
        loss = LOSSES[config.loss](logits, masks)

        # In float16, small gradients would become 0: the loss is scaled up before backward, and the
        # gradients are scaled down again before they are clipped. Otherwise the scaler does
        # nothing.
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        scaler.step(optimizer)  # left out if a gradient overflowed; then update() lowers the scale
        scaler.update()
        state.schedule.step()

        losses.append(loss.detach())  # on the device: reading a number here would wait for it
        sizes.append(len(images))
        if after_step is not None:
            after_step(model, loss.detach())

    agree(model)
    return float(np.mean(everywhere(_mean_loss(torch.stack(losses), sizes, state.epoch + 1))))


def fit(
    model: nn.Module,
    train_loader: Batches,
    val_loader: Batches,
    config: TrainingConfig | None = None,
    *,
    device: str | torch.device = "auto",
    folder: str | Path | None = None,
    resume: bool = False,
    about: dict | None = None,
    after_step: Hook | None = None,
    interruptible: bool = False,
    progress: bool = True,
) -> History:
    """Train a model, keep the weights that were best on validation, and leave the model with them.

    It seeds the generators of random numbers with `config.seed`, and moves the model to the device.

    Args:
        model: logits (N, C, H, W) from images (N, 3, H, W).
        train_loader, val_loader: batches of images and masks (N, H, W), as often as they are asked
            for: a DataLoader, or a list of batches. The second chooses the best epoch, by mIoU.
        config: `TrainingConfig()` if None.
        device: see `pick_device`.
        folder: keeps best.pt (the best weights) and last.pt (all that is needed to go on), each
            written whole or not at all. Files of an earlier run there are renamed. None keeps
            nothing on disk.
        resume: go on from folder/last.pt, if there is one, as if training had not stopped.
        about: plain values that are kept with the weights, such as what
            `helpers.data.describe(train, val)` gives; a run goes on with the same only. What `fit`
            keeps itself stays ("model_config", "config", "device", ...).
        after_step: called with the model and the loss (on the device) after each step.
        interruptible: True lets a KeyboardInterrupt (in a notebook: Kernel > Interrupt) end the
            training early. Otherwise it is raised again, so that a script stops. Either way a line
            says so, the model gets its best weights, and `resume` goes on after the last epoch that
            was kept.
        progress: show a bar with the training loss and the validation mIoU.

    Returns the history, for each finished epoch: train_loss (what `config.loss` minimizes, in
    train() mode), val_loss (always the cross-entropy), val_miou, learning_rate (at its start),
    seconds (with the validation).

    Raises FloatingPointError when the loss is not finite, ValueError for a last.pt with another
    `about`, configuration or `model.config`, and where there is nothing to train or validate on,
    TypeError for an `about` that cannot be kept in `folder`.
    """
    config = config or TrainingConfig()
    if not len(train_loader) or not len(val_loader):
        raise ValueError("nothing to train or to validate on: `split_indices` needs four samples")

    steps, device = len(train_loader), pick_device(device)
    precision = pick_precision(device, config.precision)
    model.to(device).to(memory_format=memory_format(device))
    state = TrainingState.start(model, config, config.epochs * steps, precision)

    # Go on from the files of an earlier run, or put them aside.
    files = RunFolder(folder, (about or {}) | _settings(model, config, steps, precision))
    if resume and (saved := files.read_last(state.state_dict())):
        state.load_state_dict(saved)
    else:
        files.start()

    try:
        for _ in _epochs(state, config.epochs, progress):  # `record` counts them
            start, rate = time.perf_counter(), float(state.schedule.get_last_lr()[0])
            seed_epoch(train_loader, state.epoch + 1, config.seed)

            train_loss = train_one_epoch(state, train_loader, config, precision, after_step)
            validation = evaluate(model, val_loader, precision=precision)
            validation = Evaluation(*total(*validation))

            seconds = time.perf_counter() - start
            numbers = {"train_loss": train_loss, "learning_rate": rate, "seconds": seconds}
            improved = state.record(validation, **numbers)
            files.save(state.state_dict(), state.best, improved)

    except KeyboardInterrupt:
        print(f"Interrupted: {state.epoch} of {config.epochs} epochs are finished.")
        if not interruptible:
            raise
    finally:
        model.load_state_dict(state.best["model"])

    return state.history


def _epochs(state: TrainingState, epochs: int, show: bool) -> Iterator[None]:
    """Go through the epochs that are left, with a progress bar on standard output."""
    bar = tqdm(total=epochs, initial=state.epoch, desc="epochs", file=sys.stdout, disable=not show)
    with bar:
        while state.epoch < epochs:
            yield
            loss, miou = (state.history[key][-1] for key in ("train_loss", "val_miou"))
            bar.set_postfix_str(f"loss {loss:.3f}, validation mIoU {miou:.3f}")
            bar.update()


def _parameter_groups(model: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """The parameters that are trained, with their highest learning rates: the encoder's last."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    encoder = [p for name, p in named if name.startswith("encoder.")]
    rest = [p for name, p in named if not name.startswith("encoder.")]
    rates = ((rest, config.learning_rate), (encoder, config.learning_rate * config.encoder_rate))
    return [{"params": part, "lr": rate} for part, rate in rates if part]


def _settings(
    model: nn.Module, config: TrainingConfig, steps: int, precision: torch.dtype | None
) -> dict:
    """What a run is compared with before it is resumed, as plain values."""
    return {
        "model_config": getattr(model, "config", {}),
        # The precision may change in a resumed run, and "auto" would not say what it was.
        "config": {key: value for key, value in asdict(config).items() if key != "precision"},
        "steps_per_epoch": steps,
        "device": next(model.parameters()).device.type,
        "precision": str(precision or torch.float32).removeprefix("torch."),
    }


def _mean_loss(losses: Tensor, sizes: list[int], epoch: int) -> float:
    """The mean of the batches' losses, weighted by their sizes."""
    for step, loss in enumerate(losses := losses.cpu()):
        _check_finite(float(loss), f"in epoch {epoch}, step {step}")
    return float(np.average(losses, weights=sizes))


def _check_finite(loss: float, where: str) -> None:
    if not np.isfinite(loss):
        mend = "try a lower learning_rate, and look for NaN in images and masks ignored whole"
        raise FloatingPointError(f"the loss is {loss} {where}: {mend}")


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().to("cpu", copy=True) for key, value in model.state_dict().items()}
