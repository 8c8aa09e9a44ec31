"""Make run records, as in helpers/studies/records: python tests/benchmarks/experiments.py STUDY

    recipe      the recipe of `TrainingConfig` at full length, from the weights for synthetic pets;
                scored on the test split
    one-factor  each of `helpers.studies.experiments.EXPERIMENTS`, short; scored on validation only

    --names NAME ... --seeds 0 1 2 --epochs N --threads N --device D --precision P --out FOLDER

PETS_DATA names the dataset. Records go to runs/records/<dataset>/STUDY/, or to FOLDER/STUDY/. A run
that has its record is skipped; one that was stopped (Ctrl-C stops them all) goes on from
runs/<dataset>/STUDY/. On a CPU, two of these side by side with one thread each get through more
than one with two.
"""

from collections.abc import Sequence

from helpers.data import load_splits
from helpers.datasets.pets import find_dataset
from helpers.inference import PRECISIONS
from helpers.studies.experiments import EXPERIMENTS, Experiment, run_experiment
from helpers.studies.records import record_path
from helpers.training import TrainingConfig

import torch
from common import add_test_scores, make_missing_records, options_of, own_records

STUDIES = {"recipe": {"recipe": Experiment(pretrained=True)}, "one-factor": EXPERIMENTS}
EPOCHS = {"recipe": TrainingConfig().epochs, "one-factor": 30}


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
