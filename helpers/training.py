"""Train a segmentation network: one loop for CPU, CUDA and Apple's MPS. Notebook 04."""

import hashlib
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler
from tqdm import tqdm

from helpers.checkpoint import read_checkpoint, save_checkpoint
from helpers.data import IGNORE_INDEX, PetDataset, make_loader
from helpers.losses import LOSSES
from helpers.metrics import ConfusionMatrix


@dataclass(frozen=True)
class TrainingConfig:
    """What a training run depends on, besides the model and the data. The defaults are the recipe of the README.

    Args:
        epochs: passes over the training pairs.
        batch_size: pairs in a step.
        learning_rate: its highest value.
        weight_decay: of AdamW.
        loss: "ce" (cross-entropy), "dice", or their sum, "ce+dice".
        schedule: "onecycle" (up, then down to nearly 0) or "cosine" (down from the start).
        clip_norm: gradients are scaled down to this norm at most.
        mixed_precision: True computes in bfloat16, or in float16 with a scaled loss on GPUs without it; None
            does so on CUDA only. (On a CPU it pays only where the chip has AMX or AVX512-BF16.)
        num_workers: processes that prepare batches.
        seed: of the batches' order and the augmentation. The weights are drawn before, with the model.
    """

    epochs: int = 160
    batch_size: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    loss: str = "ce+dice"
    schedule: str = "onecycle"
    clip_norm: float = 1.0
    mixed_precision: bool | None = None
    num_workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for field, allowed in (("loss", tuple(LOSSES)), ("schedule", ("onecycle", "cosine"))):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} must be one of {allowed}, not {getattr(self, field)!r}")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be at least 1, not {self.epochs}, {self.batch_size}")


History = dict[str, list[float]]


class Evaluation(NamedTuple):
    """confusion over all images, and the mean cross-entropy of a pixel."""

    confusion: ConfusionMatrix
    loss: float


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """The device to train on. "auto" takes CUDA, else Apple's MPS, else the CPU.

    Raises RuntimeError for a GPU that PyTorch cannot see.
    """
    name = str(name)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    kind, _, index = name.partition(":")
    if not available.get(kind, False) or (kind == "cuda" and int(index or 0) >= torch.cuda.device_count()):
        raise RuntimeError(
            f"device {name!r} was asked for, but PyTorch {torch.__version__} sees no such device: use 'auto' or 'cpu',"
            " or install a GPU driver and a PyTorch built for it (in Colab: Runtime > Change runtime type)"
        )
    return torch.device(name)


def pick_precision(device: torch.device, mixed: bool | None) -> torch.dtype | None:
    """The type to compute in, None for plain float32. See `TrainingConfig.mixed_precision`."""
    if mixed is None:
        mixed = device.type == "cuda"
    if not mixed:
        return None
    half = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.float16 if half else torch.bfloat16


def fit(
    model: nn.Module,
    train: PetDataset,
    val: PetDataset,
    config: TrainingConfig | None = None,
    *,
    device: str | torch.device = "auto",
    folder: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> History:
    """Train a model, keep the weights that were best on validation, and leave the model with them.

    Args:
        model: logits (N, C, H, W) from images (N, 3, H, W).
        train, val: the pairs to learn from, and those that choose the best epoch by mIoU.
        config: `TrainingConfig()` if None.
        device: see `pick_device`.
        folder: keeps best.pt (the best weights) and last.pt (all that is needed to go on), each written whole
            or not at all. With None, nothing is kept on disk.
        resume: go on from folder/last.pt, if there is one, as if training had not stopped.
        progress: show a bar with the training loss and the validation mIoU.

    Returns the history: for each epoch train_loss, val_loss, val_miou, learning_rate and seconds. Stopped by
    the keyboard, it returns the finished epochs, and `resume=True` goes on after them.

    Raises FloatingPointError when the loss is not finite, ValueError for a last.pt of another model, config or
    pairs, and where there is nothing to train or to validate on.
    """
    for part, dataset in (("training", train), ("validation", val)):
        if not len(dataset):
            raise ValueError(f"there are no {part} pairs: give at least one (`split_indices` needs four to fill both)")
    folder = Path(folder) if folder else None
    config = config or TrainingConfig()
    device = pick_device(device)
    precision = pick_precision(device, config.mixed_precision)
    model.to(device, memory_format=_layout(device))
    loader = make_loader(train, config.batch_size, shuffle=True, seed=config.seed, num_workers=config.num_workers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = config.epochs * len(loader)
    if config.schedule == "onecycle":
        scheduler = lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
    else:
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
    run = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
    about = {
        "model_config": getattr(model, "config", {}),
        "config": asdict(config),
        "trained_on": train.pairs.source.name,
        "data": {
            "size": train.pairs.images.shape[-1],
            "training_pairs": len(train),
            "validation_pairs": len(val),
            "names": hashlib.sha256(repr((train.names, val.names)).encode()).hexdigest()[:12],
        },
    }
    history: History = {key: [] for key in ("train_loss", "val_loss", "val_miou", "learning_rate", "seconds")}
    torch.manual_seed(config.seed)
    best = {"model": _copy(model), "val_miou": -1.0, "epoch": 0}

    def save() -> None:
        if folder:
            rng = {"torch": torch.get_rng_state(), "loader": loader.generator.get_state()}
            rng["cuda"] = torch.cuda.get_rng_state_all()  # empty without CUDA
            states = {key: part.state_dict() for key, part in run.items()}
            save_checkpoint(folder / "last.pt", states | about | {"history": history, "best": best, "rng": rng})

    if resume and folder and (folder / "last.pt").is_file():
        state = read_checkpoint(folder / "last.pt")
        _check_same(folder / "last.pt", state, about)
        for key, part in run.items():
            part.load_state_dict(state[key])
        history, best = state["history"], state["best"]
        torch.set_rng_state(state["rng"]["torch"])
        torch.cuda.set_rng_state_all(state["rng"]["cuda"][: torch.cuda.device_count()])
        loader.generator.set_state(state["rng"]["loader"])
    elif folder:
        folder.mkdir(parents=True, exist_ok=True)
        save()
    done = len(history["seconds"])
    with tqdm(total=config.epochs, initial=done, desc="epochs", file=sys.stdout, disable=not progress) as bar:
        try:
            for epoch in range(done + 1, config.epochs + 1):
                start = time.perf_counter()
                rate = scheduler.get_last_lr()[0]
                train_loss = _train_epoch(run, loader, config, device, precision, epoch)
                confusion, val_loss = evaluate(model, val, device=device, precision=precision)
                row = (train_loss, val_loss, confusion.mean_iou(), rate, time.perf_counter() - start)
                for key, value in zip(history, row, strict=True):
                    history[key].append(value)
                if math.isnan(history["val_miou"][-1]):
                    raise ValueError("no pixel of the validation masks counts, so there is no mIoU to choose by")
                if history["val_miou"][-1] > best["val_miou"]:
                    best = {"model": _copy(model), "val_miou": history["val_miou"][-1], "epoch": epoch}
                    if folder:
                        save_checkpoint(folder / "best.pt", best | about)
                save()
                bar.set_postfix_str(f"loss {train_loss:.3f}, validation mIoU {history['val_miou'][-1]:.3f}")
                bar.update()
        except KeyboardInterrupt:
            finished = len(history["seconds"])
            bar.write(
                f"Stopped by the keyboard; {finished} of {config.epochs} epochs are finished.",
                file=sys.stdout,
            )
    model.load_state_dict(best["model"])
    return history


def _train_epoch(run: dict, loader, config: TrainingConfig, device, precision, epoch: int) -> float:
    """One pass over the training pairs. Returns the mean loss."""
    model, optimizer, scheduler, scaler = run.values()
    model.train()
    total = 0.0
    for step, (images, masks) in enumerate(loader):
        images = images.to(device, non_blocking=device.type == "cuda", memory_format=_layout(device))
        masks = masks.to(device, non_blocking=device.type == "cuda")
        with torch.autocast(device.type, precision, enabled=precision is not None):
            logits = model(images)
        loss = LOSSES[config.loss](logits, masks)
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the loss is {value} in epoch {epoch}, step {step}: try a learning_rate below"
                f" {config.learning_rate:g}, and look for NaN in the images and for masks that are ignored altogether"
            )
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        total += value * len(images)
    return total / len(loader.dataset)


def _layout(device: torch.device) -> torch.memory_format:
    """Channels last is faster on CPU and CUDA; on MPS it has given wrong gradients (PyTorch issue 175189)."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().to("cpu", copy=True) for key, value in model.state_dict().items()}


def _check_same(path: Path, saved: dict, now: dict) -> None:
    """A run goes on only with the model, the settings and the data that it began with."""
    for part, value in now.items():
        was = saved.get(part)
        if was == value:
            continue
        if isinstance(was, dict) and isinstance(value, dict):  # name only what differs
            keys = [key for key in was | value if was.get(key) != value.get(key)]
            was, value = ({key: settings.get(key) for key in keys} for settings in (was, value))
        raise ValueError(
            f"{path} was made with {part} {was}, not {value}: use the same again (a run cannot be made longer: its"
            " schedule is fixed), choose another folder, or train with resume=False, which replaces last.pt and best.pt"
        )


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: PetDataset,
    batch_size: int = 32,
    *,
    device: str | torch.device = "auto",
    precision: torch.dtype | None = None,
) -> Evaluation:
    """Score a model in eval() mode on a dataset, at the dataset's size; the model stays in eval() mode."""
    device = pick_device(str(device))
    model.to(device).eval()
    confusion, loss, pixels = None, 0.0, 0
    for images, masks in make_loader(dataset, batch_size):
        masks = masks.to(device)
        with torch.autocast(device.type, precision, enabled=precision is not None):
            logits = model(images.to(device, memory_format=_layout(device))).float()
        confusion = confusion or ConfusionMatrix(logits.shape[1], IGNORE_INDEX)
        confusion.update(logits.argmax(dim=1), masks)
        loss += F.cross_entropy(logits, masks, ignore_index=IGNORE_INDEX, reduction="sum").item()
        pixels += int((masks != IGNORE_INDEX).sum())
    return Evaluation(confusion or ConfusionMatrix(), loss / max(pixels, 1))
