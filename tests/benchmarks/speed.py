"""How fast each network is, alone and in turn: PETS_DATA=... python tests/benchmarks/speed.py

Images per second of training (loading, augmentation, and all that `train_one_epoch` does) and of
evaluation, on an otherwise idle machine. Each round goes through all networks, so that a machine
that slows down slows all of them; the median over the rounds counts. At the end stands how many
epochs some minutes are, validation left out: peers are trained for those. The record is
helpers/studies/records/speed/DEVICE-0.json, or FOLDER/speed/DEVICE-0.json with --out FOLDER.

    --names NAME ... --images 160 --rounds 5 --threads 2 --device cpu --precision bfloat16
    --minutes 3 10 --out FOLDER
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from helpers.data import load_splits, make_loader, seed_epoch
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.inference import PRECISIONS, evaluate, memory_format, pick_device, pick_precision
from helpers.studies.experiments import Experiment, at_most, build_network
from helpers.studies.records import RECORDS, provenance, record_path, write_record
from helpers.training import TrainingConfig, TrainingState, train_one_epoch
from helpers.transforms import default_augmentation

import torch
from peers import PEERS, network_of

CASES = {
    "U-Net": Experiment(),
    "U-Net, float32": Experiment(training={"precision": "float32"}),
    "U-Net, 192 px": Experiment(size=192),
    "U-Net, 224 px": Experiment(size=224),
    "PretrainedUNet": Experiment(network="PretrainedUNet"),
    "PretrainedUNet, 192 px": Experiment(network="PretrainedUNet", size=192),
    "PretrainedUNet, 224 px": Experiment(network="PretrainedUNet", size=224),
    **{name: Experiment(network=network_of(name)) for name in PEERS},
}


class Trainee:
    """A network in training, as `helpers.train` would have it, on some pairs of a dataset.

    Args:
        experiment: the network, its size and its batches.
        source: from `find_dataset`.
        images: so many pairs for each pass, at most.
        passes: of training, at most; the schedule needs to know.
        device: see `pick_device`.
        precision: see `pick_precision`; the experiment's own comes first.
    """

    def __init__(
        self,
        experiment: Experiment,
        source: PetFolder,
        images: int,
        passes: int,
        device: str | torch.device = "cpu",
        precision: str = "bfloat16",
    ) -> None:
        splits = load_splits(source, experiment.size, default_augmentation())
        self.pairs = len(splits.train)  # of a whole epoch
        batch = experiment.batch_size
        self.train = make_loader(at_most(splits.train, images), batch, shuffle=True)
        self.val = make_loader(at_most(splits.val, images), batch)

        place = pick_device(device)
        self.config = TrainingConfig(**{"precision": precision} | experiment.training)
        self.precision = pick_precision(place, self.config.precision)
        self.model = build_network(experiment).to(place).to(memory_format=memory_format(place))
        steps = passes * len(self.train)
        self.state = TrainingState.start(self.model, self.config, steps, self.precision)

    def train_speed(self) -> float:
        """Images per second of one pass in training."""
        seed_epoch(self.train, self.state.schedule.last_epoch)  # other images than before
        start = time.perf_counter()
        train_one_epoch(self.state, self.train, self.config, self.precision)
        return len(self.train.dataset) / (time.perf_counter() - start)

    def evaluation_speed(self) -> float:
        """Images per second of one pass in evaluation."""
        start = time.perf_counter()
        evaluate(self.model, self.val, precision=self.precision)
        return len(self.val.dataset) / (time.perf_counter() - start)


def measure(trainees: dict[str, Trainee], rounds: int) -> dict[str, dict[str, list[float]]]:
    """The speeds of every round, after one that only warms up."""
    speeds: dict[str, dict[str, list[float]]] = {
        name: {"training": [], "evaluation": []} for name in trainees
    }
    for turn in range(rounds + 1):
        for name, trainee in trainees.items():
            training, evaluation = trainee.train_speed(), trainee.evaluation_speed()
            print(f"round {turn}: {name}: {training:.1f}, {evaluation:.1f} images/s", flush=True)
            if turn:
                speeds[name]["training"].append(round(training, 2))
                speeds[name]["evaluation"].append(round(evaluation, 2))
    return speeds


def epochs_in(minutes: float, case: dict, pairs: int) -> int:
    """How many whole epochs of so many pairs a network has in some minutes; at least one.

    case: of the record: training, its images per second.
    """
    return max(1, math.floor(60 * minutes * case["training"] / pairs))


def samples_in(minutes: float, case: dict, pairs: int) -> int:
    """How many pairs a network is trained on in some minutes; at least all of them once."""
    return max(pairs, round(60 * minutes * case["training"]))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--names", nargs="+", choices=CASES, default=list(CASES))
    made.add_argument("--images", type=int, default=160, help="of a pass")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--device", default="cpu")
    made.add_argument("--precision", choices=PRECISIONS, default="bfloat16")
    made.add_argument("--minutes", type=float, nargs="+", default=[3, 10])
    made.add_argument("--out", type=Path, metavar="FOLDER", default=RECORDS)
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    source, device = find_dataset(), pick_device(options.device)
    trainees = {
        name: Trainee(
            CASES[name], source, options.images, options.rounds + 1, device, options.precision
        )
        for name in options.names
    }
    speeds = measure(trainees, options.rounds)

    about = provenance(device, pick_precision(device, options.precision))
    record = {"name": about["device"], "seed": 0, "dataset": source.name} | about
    record |= {"pairs": next(iter(trainees.values())).pairs, "images": options.images}
    record["networks"] = {
        name: describe(CASES[name], trainee, speeds[name]) for name, trainee in trainees.items()
    }
    path = record_path(record["name"], 0, "speed", options.out)
    write_record(record, path)

    for name, case in record["networks"].items():
        speed, pairs = case["training"], record["pairs"]
        told = (f"{epochs_in(m, case, pairs)} epochs in {m:g} min" for m in options.minutes)
        print(f"{name}: {speed:.1f} images/s: {', '.join(told)} (one: {pairs / speed / 60:.1f})")
    print(path)


def describe(experiment: Experiment, trainee: Trainee, speeds: dict[str, list[float]]) -> dict:
    """What was measured of a network, and what tells it from others."""
    return {
        "network": experiment.network,
        "model": experiment.model,
        "size": experiment.size,
        "precision": str(trainee.precision or torch.float32).removeprefix("torch."),
        "parameters": sum(p.numel() for p in trainee.model.parameters()),
        **{kind: round(median(values), 1) for kind, values in speeds.items()},
        "rounds": speeds,
    }


if __name__ == "__main__":
    main()
