"""Make run records, as in helpers/studies/records: python tests/benchmarks/experiments.py STUDY

    recipe      the recipe of `TrainingConfig` at full length, from the weights for synthetic pets;
                scored on the test split
    one-factor  each of `helpers.studies.experiments.EXPERIMENTS`, short; scored on validation only
    baselines   predictions that need no network, scored on the test split

    --names NAME ... --seeds 0 1 2 --epochs N --threads N --device D --precision P --out FOLDER

PETS_DATA names the dataset. Records go to runs/records/<dataset>/STUDY/, or to FOLDER/STUDY/. A run
that has its record is skipped; one that was stopped (Ctrl-C stops them all) goes on from
runs/<dataset>/STUDY/. On a CPU, two of these side by side with one thread each get through more
than one with two.
"""

from collections.abc import Sequence
from pathlib import Path

from helpers.data import Splits, load_splits
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.inference import PRECISIONS
from helpers.metrics import iou
from helpers.studies.experiments import EXPERIMENTS, Experiment, run_experiment
from helpers.studies.records import EDITION, commit, record_path, save_record, split_hash
from helpers.studies.report import full_report
from helpers.training import TrainingConfig

import torch
import torch.nn.functional as F
from common import add_test_scores, make_missing_records, options_of, own_records
from torch import Tensor

STUDIES = {
    "recipe": {"recipe": Experiment(pretrained=True)},
    "one-factor": EXPERIMENTS,
    "baselines": {},
}
EPOCHS = {"recipe": TrainingConfig().epochs, "one-factor": 30}


def ellipse(size: int, height: float, width: float, band: float) -> Tensor:
    """A pet in the shape of a centered ellipse with a border around it, (size, size).

    height and width are its axes, as fractions of the photo's.
    """
    across = torch.linspace(-1, 1, size)
    distance = ((across[:, None] / height) ** 2 + (across[None] / width) ** 2).sqrt()
    return torch.where(distance < 1 - band, 0, torch.where(distance < 1 + band, 2, 1))


def constant_masks(splits: Splits) -> dict[str, Tensor]:
    """One mask (size, size) for all photos: background, the mode of trainval, the best ellipse."""
    trainval = splits.train.pairs.masks

    # How often each class is at a position, (size, size, C).
    counts = torch.stack([(trainval == c).sum(dim=0) for c in range(3)], dim=-1)

    def miou(mask: Tensor) -> float:
        matrix = torch.stack([counts[mask == c].sum(dim=0) for c in range(3)], dim=1)
        return iou(matrix).nanmean().item()

    size, steps = len(counts), torch.arange(0.3, 1.31, 0.05).tolist()
    bands = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25)
    ellipses = [ellipse(size, h, w, band) for h in steps for w in steps for band in bands]
    return {
        "all background": torch.ones(size, size, dtype=torch.int64),
        "mean mask": counts.argmax(dim=-1),
        "best ellipse": max(ellipses, key=miou),
    }


def score_baselines(source: PetFolder, folder: Path, size: int = 128) -> None:
    splits = load_splits(source, size)
    for name, mask in constant_masks(splits).items():
        one_hot = F.one_hot(mask, 3).movedim(-1, 0).float()
        record = {
            "name": name,
            "seed": 0,
            "dataset": source.name,
            "split_hash": split_hash(splits),
            "size": size,
            "edition": EDITION,
            "commit": commit(),
            "test": full_report(one_hot.expand(len(splits.test), -1, -1, -1), splits.test),
        }
        print(save_record(record, "baselines", folder), record["test"]["miou"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options_of(__doc__, seeds=(0, 1, 2))
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    source, study = find_dataset(), STUDIES[options.study]
    out = options.out or own_records(source)
    if options.study == "baselines":
        score_baselines(source, out)
        return

    def run(name: str, seed: int) -> dict:
        model, record = run_experiment(
            name,
            source,
            study[name],
            seed=seed,
            device=options.device,
            folder=source.runs / options.study / record_path(name, seed, options.study).stem,
            progress=False,
            epochs=options.epochs or EPOCHS[options.study],
            precision=options.precision,
        )
        if options.study == "recipe":
            record = add_test_scores(record, model, load_splits(source, study[name].size))
        return record

    make_missing_records(options.study, options.names or list(study), options.seeds, out, run)


if __name__ == "__main__":
    main()
