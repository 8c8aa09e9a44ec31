"""Make the tables of README, RESULTS and the model card anew from the run records:

python tests/benchmarks/tables.py
"""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import mean

from helpers.studies.records import load_records
from helpers.studies.tables import (
    MAIN_SCORES,
    Record,
    baselines_table,
    check_comparable,
    main_scores,
    markdown,
    results_table,
    spread,
)

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "notebooks/RESULTS.md", ROOT / "helpers/weights/README.md"]
PAGES = [page for page in PAGES if page.is_file()]

UNTUNED = (
    "Ours was chosen among a dozen variants on these validation pairs; the others were trained by"
    " their own recipes, which were not tuned for them."
)


def models_table(records: Sequence[Record]) -> str:
    """Networks by test mIoU, and how soon each reached the final validation mIoU of others."""
    check_comparable(records)
    runs: dict[str, list[Record]] = {}
    for record in records:
        runs.setdefault(record["name"], []).append(record)
    names = sorted(runs, key=lambda name: -mean(r["test"]["miou"] for r in runs[name]))

    goals = {
        name: mean(r["history"]["val_miou"][-1] for r in runs[name])
        for name in names
        if "ours" not in name
    }
    reached = [f"seconds to {goal:.3f} ({name.split()[0]}'s end)" for name, goal in goals.items()]
    head = ["network", "parameters", "images/s", "epochs", f"test {MAIN_SCORES[0]}"]
    head += [*MAIN_SCORES[1:], *reached]

    rows = []
    for name in names:
        scores = zip(*(main_scores(r["test"]) for r in runs[name]), strict=True)
        times = [[seconds_to(r, goal) for r in runs[name]] for goal in goals.values()]
        first = runs[name][0]
        rows.append(
            [
                name,
                f"{first['parameters'] / 1e6:.2f} M",
                f"{mean(r['images_per_second'] for r in runs[name]):.1f}",
                str(len(first["history"]["seconds"])),
                *map(spread, scores),
                *("not reached" if None in each else f"{mean(each):.0f}" for each in times),
            ]
        )
    return f"{markdown(head, rows)}\n\n{UNTUNED}"


def cost_table(records: Sequence[Record]) -> str:
    """For each device: what each width costs, then how fast the default trains in each setting."""
    parts = []
    for record in records:
        # One row for each width.
        speeds = list(next(iter(record["widths"].values()))["images_per_second"])
        head = ["channels at full size", "parameters", "multiply-adds", "activations, training"]
        rows = [
            [
                width,
                f"{cost['parameters'] / 1e6:.2f} M",
                f"{cost['multiply_adds'] / 1e9:.2f} G",
                f"{cost['activation_bytes'] / 1e6:.0f} MB",
                *(f"{cost['images_per_second'][speed]:.1f}" for speed in speeds),
            ]
            for width, cost in record["widths"].items()
        ]
        parts.append(markdown([*head, *(f"images/s, {speed}" for speed in speeds)], rows))

        # The default network.
        rows = [[name, f"{rate:.1f}"] for name, rate in record["settings"].items()]
        parts.append(markdown([f"the default on {record['name']}", "images/s"], rows))
        rows = [[name, f"{part:.0%}"] for name, part in record["waiting_fraction"].items()]
        parts.append(markdown(["fraction of an epoch spent waiting for data", ""], rows))
    return "\n\n".join(parts)


def seconds_to(record: Record, goal: float) -> float | None:
    """Seconds of training and validation until the validation mIoU first was at least `goal`."""
    history = record["history"]
    elapsed = accumulate(history["seconds"])
    reached = (s for s, miou in zip(elapsed, history["val_miou"], strict=True) if miou >= goal)
    return next(reached, None)


TABLES = {
    "recipe": results_table,
    "baselines": baselines_table,
    "models": models_table,
    "cost": cost_table,
}


def fill_tables(text: str, load: Callable[[str], list[Record]]) -> str:
    """A page with each table between `<!-- table: STUDY -->` and `<!-- end -->` made anew."""

    def table(match: re.Match) -> str:
        return f"{match[1]}\n\n{TABLES[match[2]](load(match[2]))}\n\n{match[3]}"

    return re.sub(r"(<!-- table: ([\w-]+) -->).*?(<!-- end -->)", table, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(fill_tables(page.read_text(encoding="utf-8"), load_records), "utf-8")
