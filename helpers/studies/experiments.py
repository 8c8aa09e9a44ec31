"""Training runs that differ in one thing, and can be compared and repeated. Notebook 07."""

import hashlib
import inspect
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from helpers.checkpoint import find_weights, read_checkpoint
from helpers.data import SegmentationDataset, Splits, describe, load_splits, make_loader, mix
from helpers.datasets.pairs import Source
from helpers.distributed import place
from helpers.model import UNet
from helpers.networks.pretrained import PretrainedUNet
from helpers.studies.records import make_record
from helpers.training import TrainingConfig, fit
from helpers.transforms import default_augmentation

import torch
from torch import nn

NETWORKS: dict[str, Callable[..., nn.Module]] = {"UNet": UNet, "PretrainedUNet": PretrainedUNet}
AUGMENTATIONS: dict[str, Callable | None] = {"default": default_augmentation, "none": None}


@dataclass(frozen=True)
class Experiment:
    """What distinguishes one training run from another.

    Args:
        network: "UNet", "PretrainedUNet", or MODULE:NAME of your own.
        model: arguments of the network.
        training: arguments of `TrainingConfig`.
        size: input size in pixels.
        scale: 0 squashes whole images to that size; else they are enlarged by this factor (1: they
            stay as they are) and cut into tiles of that size.
        augment: "default", "none", or MODULE:NAME of a function that makes an augmentation.
        fraction: of the training pairs that is used: every 1/fraction-th of them, as many times an
            epoch.
        batch_size: training pairs for each step.
        samples: an "epoch" is so many of the training pairs, and the next one goes on behind them;
            0 is all of them.
        weights: to begin with: "" is random; "imagenet", in the encoder of a `PretrainedUNet`; the
            name of shipped ones, such as "synthetic"; or a file that a run has left (best.pt).

    Raises ValueError for a size or a batch without a pixel or a pair.
    """

    network: str = "UNet"
    model: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    size: int = 128
    scale: float = 0.0
    augment: str = "default"
    fraction: float = 1.0
    batch_size: int = 16
    samples: int = 0
    weights: str = ""

    def __post_init__(self) -> None:
        for name, least in {"size": 1, "batch_size": 1, "samples": 0}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number from {least} on, not {value}")
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"scale must be 0, for whole images, or above, not {self.scale}")


EXPERIMENTS = {
    "baseline": Experiment(),
    "no skips": Experiment(model={"skips": False}),
    "8 channels": Experiment(model={"base_channels": 8}),
    "cross-entropy alone": Experiment(training={"loss": "ce"}),
    "no augmentation": Experiment(augment="none"),
    "64 px": Experiment(size=64),
    "from synthetic pets": Experiment(weights="synthetic"),
}


def run_experiment(
    name: str,
    source: Source,
    experiment: Experiment | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
    limit: int | None = None,
    folder: Path | None = None,
    test: bool = False,
    flip: bool = False,
    progress: bool = True,
    **training: Any,
) -> tuple[nn.Module, dict]:
    """Train one of `EXPERIMENTS` on a dataset, and score it on validation.

    Args:
        name: of the experiment, or a new one for your own.
        source: from `find_dataset` or `open_folder`.
        experiment: your own.
        seed: of the weights, the order of the pairs and the augmentation.
        device: see `pick_device`.
        limit: use at most so many training pairs, and as many validation pairs.
        folder: keeps checkpoints; a run that was stopped goes on from there.
        test: score on the test split, too: final runs only.
        flip: there, also with test-time augmentation.
        training: arguments of `TrainingConfig`, such as epochs; the experiment's own come first.

    Returns the model and the record. Raises KeyError for an unknown name, ValueError for weights
    that do not fit the model, KeyboardInterrupt when it is stopped: then there is no record. Of
    several processes (see helpers/distributed.py), the first has the record.
    """
    if experiment is None and name not in EXPERIMENTS:
        raise KeyError(f"no experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    experiment = experiment or EXPERIMENTS[name]

    # The network first: a module of your own may add a loss that the configuration names. Its
    # weights are the first numbers drawn after the seed.
    TrainingConfig(seed=seed)  # refuses what is no seed before it is used
    torch.manual_seed(seed)
    model = build_network(experiment, len(source.class_names))
    config = TrainingConfig(**{"seed": seed} | training | experiment.training)
    with torch.no_grad():  # a size that it can't take is refused before the images are read
        model.eval()(torch.zeros(1, 3, experiment.size, experiment.size))

    splits, settings = splits_of(experiment, source, limit), settings_of(experiment)
    if test and not len(splits.test):
        raise ValueError(
            f"{source.name} has no test pairs: leave the test out, or add a third group"
        )
    shown = InTurn(splits.train, experiment.samples) if experiment.samples else splits.train
    first = place()[0] == 0  # of several processes, the one that reports
    history = fit(
        model,
        make_loader(shown, experiment.batch_size, shuffle=True),
        make_loader(splits.val, experiment.batch_size),
        config,
        device=device,
        folder=folder,
        resume=folder is not None,
        about=describe(splits.train, splits.val) | settings,
        progress=progress and first,
    )
    if not first:
        return model, {}
    return model, make_record(name, model, splits, history, config, settings, test=test, flip=flip)


def splits_of(experiment: Experiment, source: Source, limit: int | None = None) -> Splits:
    """The pairs of an experiment; limit: at most so many to train on, and to validate on."""
    make = _named(experiment.augment, AUGMENTATIONS)
    scale = experiment.scale or None
    splits = load_splits(source, experiment.size, make and make(), scale=scale)
    train, val = at_most(splits.train, limit), at_most(splits.val, limit)
    return splits._replace(train=fewer_pairs(train, experiment.fraction), val=val)


def settings_of(experiment: Experiment) -> dict:
    """What checkpoints and records keep of an experiment, as plain values.

    Weights from a file are named as seen from the current folder (by the file's name alone, if it
    is elsewhere): a record tells nothing of a machine. The content is told by its SHA-256.
    """
    settings: dict[str, Any] = {"experiment": asdict(experiment)}
    path = find_weights(experiment.weights)

    if path.is_file():
        settings["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        if path == Path(experiment.weights):  # none that come with the series
            path = Path(os.path.abspath(path))
            here = path.is_relative_to(Path.cwd())
            name = path.relative_to(Path.cwd()).as_posix() if here else path.name
            settings["experiment"]["weights"] = name
    return settings


def build_network(experiment: Experiment, num_classes: int = 3) -> nn.Module:
    """The network of an experiment with its first weights; random ones are drawn here.

    Of weights for another number of classes, all are taken but the head's, which stay random.
    """
    make, weights = _named(experiment.network, NETWORKS), experiment.weights
    takes = inspect.signature(make)
    options = ({} if num_classes == 3 else {"num_classes": num_classes}) | experiment.model
    try:
        given = takes.bind(**options).arguments
    except TypeError as error:
        raise ValueError(f"{experiment.network}: {error}; it takes {takes}") from error

    # "false", a word, would count as True and change nothing without a sound.
    for name, value in given.items():
        default = takes.parameters[name].default
        if isinstance(default, int) and type(value) is not type(default):
            kind = "True or False" if isinstance(default, bool) else "a whole number"
            raise ValueError(f"{experiment.network}: {name} must be {kind}, not {value!r}")

    if given.get("num_classes", num_classes) != num_classes:
        raise ValueError(
            f"num_classes is {given['num_classes']}, but the data have {num_classes}: leave it out"
        )

    model = make(**options)
    if not weights:
        return model

    if weights == "imagenet":
        if not hasattr(model, "load_imagenet"):
            raise ValueError('weights "imagenet" are for a network that has them: PretrainedUNet')
        model.load_imagenet()
        return model

    saved = read_checkpoint(weights)
    own = {key: value for key, value in model.state_dict().items() if key.startswith("head.")}
    fits = saved["model_config"].get("num_classes", 3) == num_classes
    try:
        model.load_state_dict(saved["model"] | ({} if fits else own))
    except RuntimeError as error:
        raise ValueError(
            f"the weights {weights!r} do not fit this {experiment.network}: they belong to one with"
            f" {saved['model_config']}"
        ) from error
    return model


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


class InTurn(SegmentationDataset):
    """So many samples of a dataset in each epoch, the next ones each time.

    The epochs are cut from one long line, in which all samples stand once in random order, then all
    of them in another order, and so on.
    """

    def __init__(self, dataset: SegmentationDataset, samples: int) -> None:
        super().__init__(dataset.pairs, dataset.indices, dataset.augment)
        self.all, self.samples = dataset.indices, samples
        self.set_epoch(1)

    def set_epoch(self, epoch: int, seed: int = 0) -> None:
        super().set_epoch(epoch, seed)
        first, count = (epoch - 1) * self.samples, len(self.all)
        last = first + self.samples
        passes = range(first // count, -(-last // count))
        line = torch.cat([self.all[shuffled(count, mix(seed, number))] for number in passes])
        self.indices = line[first % count :][: self.samples]


def shuffled(count: int, seed: int) -> torch.Tensor:
    """0 to count - 1 in random order."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _named(name: str, known: dict[str, Any]) -> Any:
    """One of the known, or what MODULE:NAME names. Raises KeyError if there is none."""
    if name in known:
        return known[name]
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise KeyError(f"no {name!r}: there are {', '.join(known)}, and your own as MODULE:NAME")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # one that the module needs
            raise
        raise KeyError(f"no module {module!r}: be in the folder that {module}.py is in") from error
    if not hasattr(found, attribute):
        raise KeyError(f"no {attribute!r} in {found.__file__}")
    return getattr(found, attribute)
