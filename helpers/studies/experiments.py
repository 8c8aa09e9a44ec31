"""Training runs that differ in one thing, and can be compared and repeated. Notebook 07."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from helpers.checkpoint import load_model
from helpers.data import SegmentationDataset, describe, load_splits, make_loader
from helpers.datasets.pets import PetFolder
from helpers.model import UNet
from helpers.studies.records import make_record
from helpers.training import TrainingConfig, fit
from helpers.transforms import default_augmentation

import torch


@dataclass(frozen=True)
class Experiment:
    """What distinguishes one training run from another.

    Args:
        model: arguments of `UNet`.
        training: arguments of `TrainingConfig`.
        size: input size in pixels.
        augment: train on augmented pairs.
        fraction: of the training pairs that is used: every 1/fraction-th of them.
        pretrained: begin with the weights shipped for the synthetic pets, not with random ones;
            only for the default `UNet`.
    """

    model: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    size: int = 128
    augment: bool = True
    fraction: float = 1.0
    pretrained: bool = False


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
    "1/4 of the pairs": Experiment(fraction=0.25),
    "1/2 of the pairs": Experiment(fraction=0.5),
    "pretrained on synthetic pets": Experiment(pretrained=True),
}


def run_experiment(
    name: str,
    source: PetFolder,
    experiment: Experiment | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch_size: int = 16,
    limit: int | None = None,
    folder: Path | None = None,
    progress: bool = True,
    **training: Any,
) -> tuple[UNet, dict]:
    """Train one of `EXPERIMENTS` on a dataset, and score it on validation.

    Args:
        name: of the experiment, or a new one for your own.
        source: from `find_dataset`.
        experiment: your own.
        seed: of the weights, the order of the pairs and the augmentation.
        device: see `pick_device`.
        limit: use at most so many training pairs, and as many validation pairs.
        folder: keeps checkpoints; a run that was stopped goes on from there.
        training: arguments of `TrainingConfig`, such as epochs; the experiment's own come first.

    Returns the model and the record. Raises KeyError for an unknown name, RuntimeError for weights
    that do not fit the model, KeyboardInterrupt when it is stopped: then there is no record.
    """
    if experiment is None and name not in EXPERIMENTS:
        raise KeyError(f"no experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    experiment = experiment or EXPERIMENTS[name]

    # The data, then the model: its weights are the first numbers drawn after the seed.
    augment = default_augmentation() if experiment.augment else None
    splits = load_splits(source, experiment.size, augment)
    train, val = at_most(splits.train, limit), at_most(splits.val, limit)
    splits = splits._replace(train=fewer_pairs(train, experiment.fraction), val=val)
    torch.manual_seed(seed)
    model = UNet(**experiment.model)
    if experiment.pretrained:
        model.load_state_dict(load_model("synthetic")[0].state_dict())

    config = TrainingConfig(**{"seed": seed} | training | experiment.training)
    history = fit(
        model,
        make_loader(splits.train, batch_size, shuffle=True),
        make_loader(splits.val, batch_size),
        config,
        device=device,
        folder=folder,
        resume=folder is not None,
        about=describe(splits.train, splits.val),
        progress=progress,
    )

    settings = {"experiment": asdict(experiment), "batch_size": batch_size}
    return model, make_record(name, model, splits, history, config, settings)


def at_most(dataset: SegmentationDataset, limit: int | None) -> SegmentationDataset:
    """The dataset, or `limit` of its samples, evenly from its list, if it holds more."""
    if limit is None or len(dataset) <= limit:
        return dataset
    chosen = torch.linspace(0, len(dataset) - 1, limit).long()
    return SegmentationDataset(dataset.pairs, dataset.indices[chosen], dataset.augment)


def fewer_pairs(train: SegmentationDataset, fraction: float) -> SegmentationDataset:
    """A fraction of the training pairs, evenly from the list, each shown 1/fraction times an epoch.

    An epoch has as many steps as before. Raises ValueError unless it is 1, 1/2, 1/3, ...
    """
    step = round(1 / fraction) if fraction > 0 else 0
    if not math.isclose(step * fraction, 1):
        raise ValueError(f"fraction must be 1, 1/2, 1/3, ..., not {fraction}")
    indices = train.indices[::step].repeat(step)[: len(train)]
    return SegmentationDataset(train.pairs, indices, train.augment)
