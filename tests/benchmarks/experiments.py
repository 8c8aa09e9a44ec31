"""Make run records, such as those in helpers/records: PETS_DATA=... python tests/benchmarks/experiments.py STUDY

    recipe      the recipe of `TrainingConfig` at full length, from the weights for drawn pets; scored on the test list
    one-factor  each of `helpers.experiments.EXPERIMENTS`, short; scored on validation only
    baselines   answers that need no network, scored on the test list

    --names NAME ... --seeds 0 1 2 --epochs N --threads N --float32 --out FOLDER

Records go to runs/records/<dataset>/STUDY/, or to FOLDER/STUDY/. A run that has its record is skipped; one that was
stopped goes on from runs/<dataset>/STUDY/. On a CPU, two of these side by side with one thread each get through more
than one with two. With the full dataset in data/, `experiments.py recipe` trains on that.
"""

import argparse
from pathlib import Path

from helpers.data import Splits, load_splits
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.metrics import iou
from helpers.studies.experiments import (
    EXPERIMENTS,
    Experiment,
    add_test_scores,
    commit,
    own_records,
    record_path,
    run_experiment,
    save_record,
    split_hash,
)
from helpers.studies.report import full_report
from helpers.training import TrainingConfig

import torch
import torch.nn.functional as F
from torch import Tensor

STUDIES = {"recipe": {"recipe": Experiment(pretrained=True)}, "one-factor": EXPERIMENTS, "baselines": {}}
EPOCHS = {"recipe": TrainingConfig().epochs, "one-factor": 30}


def ellipse(size: int, height: float, width: float, band: float) -> Tensor:
    """A pet in the shape of a centered ellipse (axes as shares of the photo), a border around it, (size, size)."""
    across = torch.linspace(-1, 1, size)
    distance = ((across[:, None] / height) ** 2 + (across[None] / width) ** 2).sqrt()
    return torch.where(distance < 1 - band, 0, torch.where(distance < 1 + band, 2, 1))


def constant_answers(splits: Splits) -> dict[str, Tensor]:
    """One mask (size, size) for every photo: all background, the mode of the trainval masks, their best ellipse."""
    trainval = splits.train.pairs.masks.long()
    counts = F.one_hot(trainval, 3).sum(dim=0)  # (size, size, C): how often each class is at a position

    def miou(mask: Tensor) -> float:
        return iou(torch.stack([counts[mask == c].sum(dim=0) for c in range(3)], dim=1)).nanmean().item()

    size, steps = len(counts), torch.arange(0.3, 1.31, 0.05).tolist()
    ellipses = [ellipse(size, h, w, band) for h in steps for w in steps for band in (0.02, 0.05, 0.1, 0.15, 0.2, 0.25)]
    return {
        "all background": torch.ones(size, size, dtype=torch.int64),
        "mean mask": counts.argmax(dim=-1),
        "best ellipse": max(ellipses, key=miou),
    }


def score_baselines(source: Source, folder: Path) -> None:
    splits = load_splits(source)
    for name, mask in constant_answers(splits).items():
        answer = F.one_hot(mask, 3).movedim(-1, 0).float().expand(len(splits.test), -1, -1, -1)
        record = {"name": name, "seed": 0, "dataset": source.name, "split_hash": split_hash(splits), "size": len(mask)}
        record |= {"commit": commit(), "test": full_report(answer, splits.test)}
        print(save_record(record, "baselines", folder), record["test"]["miou"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--names", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--float32", action="store_true", help="on a CPU without AMX this is faster")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of records; helpers/records makes README's tables")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    source, study = find_dataset(), STUDIES[options.study]
    out = options.out or own_records(source)
    if options.study == "baselines":
        score_baselines(source, out)
        return
    # only the recipe's weights are for later use: `find_checkpoint` looks into source.runs
    runs = source.runs if options.study == "recipe" else source.runs.parent / "experiments" / source.runs.name
    for seed in options.seeds:
        for name in options.names or study:
            path = record_path(name, seed, options.study, out)
            if path.is_file():
                print(f"skipped: {path} exists", flush=True)
                continue
            model, record = run_experiment(
                name,
                source,
                study[name],
                seed=seed,
                folder=runs / options.study / path.stem,
                progress=False,
                epochs=options.epochs or EPOCHS[options.study],
                mixed_precision=not options.float32,
            )
            if options.study == "recipe":
                record = add_test_scores(record, model, load_splits(source, study[name].size))
            print(save_record(record, options.study, out), record["val"]["miou"], flush=True)


if __name__ == "__main__":
    main()
