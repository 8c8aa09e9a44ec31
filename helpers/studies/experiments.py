"""Training runs that can be compared and repeated: what was fixed, what came out, in one small JSON. Notebook 07."""

import hashlib
import json
import math
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

from helpers.calibration import fit_temperature, reliability
from helpers.checkpoint import SHIPPED, load_model
from helpers.data import PetDataset, Splits, default_augmentation, load_splits
from helpers.model import UNet
from helpers.prediction import predict
from helpers.report import full_report
from helpers.source import HOME, Source
from helpers.training import History, TrainingConfig, fit, pick_device

import torch
from torch import Tensor, nn

RECORDS = Path(__file__).parent / "records"


@dataclass(frozen=True)
class Experiment:
    """What distinguishes one training run from another.

    Args:
        model: arguments of `UNet`.
        training: arguments of `TrainingConfig`.
        size: input size in pixels.
        augment: train on augmented pairs.
        share: of the training pairs that are used, every 1/share-th of them.
        pretrained: begin with the weights shipped for the drawn pets, not with random ones.
    """

    model: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    size: int = 128
    augment: bool = True
    share: float = 1.0
    pretrained: bool = False

    def __post_init__(self) -> None:
        if self.pretrained and self.model:
            raise ValueError(
                f"the pretrained weights are of the default UNet: leave out model={self.model}"
            )


EXPERIMENTS = {
    "baseline": Experiment(),
    "no skips": Experiment(model={"skips": False}),
    "depth 2": Experiment(model={"depth": 2}),
    "8 channels": Experiment(model={"base_channels": 8}),
    "24 channels": Experiment(model={"base_channels": 24}),
    "no augmentation": Experiment(augment=False),
    "cross-entropy alone": Experiment(training={"loss": "ce"}),
    "Dice alone": Experiment(training={"loss": "dice"}),
    "64 px": Experiment(size=64),
    "1/4 of the pairs": Experiment(share=0.25),
    "1/2 of the pairs": Experiment(share=0.5),
    "pretrained on drawn pets": Experiment(pretrained=True),
}


def run_experiment(
    name: str,
    source: Source,
    experiment: Experiment | None = None,
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = True,
    **training,
) -> tuple[nn.Module, dict]:
    """Train one of `EXPERIMENTS` (or another under a name of its own) on a dataset and score it on validation.

    The seed decides on the weights, the order of the pairs and the augmentation. Further arguments are those of
    `TrainingConfig`, such as epochs; the experiment's own come first. Returns the model and the record.

    Raises KeyError for an unknown name.
    """
    if experiment is None and name not in EXPERIMENTS:
        raise KeyError(f"no experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    experiment = experiment or EXPERIMENTS[name]
    splits = load_splits(
        source, experiment.size, default_augmentation() if experiment.augment else None
    )
    splits = splits._replace(train=fewer_pairs(splits.train, experiment.share))
    torch.manual_seed(seed)
    model = load_model(SHIPPED)[0] if experiment.pretrained else UNet(**experiment.model)
    config = TrainingConfig(seed=seed, **training | experiment.training)
    settings = {"experiment": asdict(experiment), "training": asdict(config)}
    record = record_run(
        name,
        model,
        splits,
        seed,
        settings,
        lambda: fit(
            model,
            splits.train,
            splits.val,
            config,
            folder=folder,
            resume=folder is not None,
            progress=progress,
        ),
    )
    return model, record


def fewer_pairs(train: PetDataset, share: float) -> PetDataset:
    """A share of the training pairs, evenly from the list, each shown 1/share times an epoch: the steps stay."""
    step = round(1 / share) if share > 0 else 0
    if not math.isclose(step * share, 1):
        raise ValueError(f"share must be 1, 1/2, 1/3, ..., not {share}")
    return PetDataset(train.pairs, train.indices[::step].repeat(step)[: len(train)], train.augment)


def record_run(
    name: str,
    model: nn.Module,
    splits: Splits,
    seed: int,
    settings: dict,
    train: Callable[[], History],
    score: Callable[[], dict] | None = None,
) -> dict:
    """Train a model by `train()` and describe the run: data, settings, machine, commit, history, validation scores.

    Validation scores are those of `full_report`, unless `score()` gives others.
    Returns a record for `save_record`. Test scores are added by `add_test_scores`, for final runs only.
    """
    cpu = time.process_time()
    history = train()
    return {
        "name": name,
        "seed": seed,
        "dataset": splits.val.pairs.source.name,
        "pairs": {part: len(set(dataset.names)) for part, dataset in splits._asdict().items()},
        "split_hash": split_hash(splits),
        "size": splits.val.pairs.images.shape[-1],
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "settings": settings,
        "device": device_name(),
        "torch": torch.__version__,
        "commit": commit(),
        "date": date.today().isoformat(),
        "minutes": round(sum(history["seconds"]) / 60, 2),
        "cpu_minutes": round((time.process_time() - cpu) / 60, 2),
        "history": {
            key: [float(f"{value:.4g}") for value in values] for key, values in history.items()
        },
        "val": score() if score else full_report(predict(model, _whole(splits.val)[0]), splits.val),
    }


def add_test_scores(record: dict, model: nn.Module, splits: Splits) -> dict:
    """The record with every score on the test list, plain and averaged over the photo and its mirror image.

    The calibration error is given as it is, and with a temperature that was fitted on the validation pairs.
    """
    return record | {
        "test": _test_report(model, splits, flip=False),
        "test_flip": _test_report(model, splits, flip=True),
    }


def save_record(record: dict, study: str, folder: Path = RECORDS) -> Path:
    """Write folder/study/NAME-SEED.json, a line for each key, whole or not at all."""
    path = record_path(record["name"], record["seed"], study, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        lines = ",\n".join(
            f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()
        )
        partial.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def own_records(source: Source) -> Path:
    """Where the scripts in tests/benchmarks/ keep records of your runs on a dataset, unless they are told otherwise."""
    return HOME / "runs" / "records" / source.runs.name


def record_path(name: str, seed: int, study: str, folder: Path = RECORDS) -> Path:
    """Where the record of a run is kept."""
    return folder / study / f"{re.sub(r'[^0-9A-Za-z]+', '-', name).strip('-')}-{seed}.json"


def load_records(study: str, folder: Path = RECORDS) -> list[dict]:
    """All records of a study, in the order of their file names. Raises FileNotFoundError if there are none."""
    paths = sorted((folder / study).glob("*.json"))
    if not paths:
        raise FileNotFoundError(
            f"{folder / study} holds no records: the scripts in tests/benchmarks/ make them"
        )
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def split_hash(splits: Splits) -> str:
    """Tells whether two runs used the same pairs in the same roles: the same names in training, validation, test."""
    text = "\n".join(
        f"{part}:{name}"
        for part, data in splits._asdict().items()
        for name in sorted(set(data.names))
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def device_name() -> str:
    """The device that `fit` picks, in words: the GPU's name, or the number of threads on a CPU."""
    device = pick_device()
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{device}, {platform.machine()}, {torch.get_num_threads()} threads"


def commit() -> str:
    """The commit of this clone, with "-dirty" after uncommitted changes, or "unknown" outside of one."""
    command = [
        "git",
        "-C",
        str(HOME),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude",
        "*",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _test_report(model: nn.Module, splits: Splits, flip: bool) -> dict:
    (val_images, val_masks), (images, masks) = (
        _whole(dataset) for dataset in (splits.val, splits.test)
    )
    probabilities = predict(model, images, flip=flip)
    temperature = fit_temperature(_log(predict(model, val_images, flip=flip)), val_masks)
    scaled = (_log(probabilities) / temperature).softmax(dim=1)
    return full_report(probabilities, splits.test) | {
        "calibration_error": round(reliability(probabilities, masks).error(), 4),
        "temperature": round(temperature, 3),
        "calibration_error_scaled": round(reliability(scaled, masks).error(), 4),
    }


def _whole(dataset: PetDataset) -> tuple[Tensor, Tensor]:
    return dataset.__getitems__(list(range(len(dataset))))


def _log(probabilities: Tensor) -> Tensor:
    return probabilities.clamp(min=1e-12).log()
