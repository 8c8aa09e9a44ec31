"""Run records for tests of tables: one as a run leaves it, and others with changed numbers."""

import copy
from typing import Any

from helpers.datasets.pets import PetFolder
from helpers.studies.experiments import Experiment, run_experiment


def trained_record(source: PetFolder) -> dict:
    """The record of a tiny network after two epochs."""
    tiny = Experiment(model={"base_channels": 4, "depth": 2}, size=32)
    options = {"epochs": 2, "test": True, "flip": True, "progress": False, "device": "cpu"}
    return run_experiment("tiny", source, tiny, **options)[1]


def stand_in(record: dict, name: str, seed: int = 0, **changes: Any) -> dict:
    """The record under another name, and with other numbers: `test__miou=0.5`."""
    made = copy.deepcopy(record) | {"name": name, "seed": seed}
    for keys, value in changes.items():
        *path, last = keys.split("__")
        part = made
        for key in path:
            part = part[key]
        part[last] = value
    return made
