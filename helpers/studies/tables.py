"""Tables in Markdown, made from run records and never typed. README and notebook 05 show them."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from helpers.constants import CLASS_NAMES
from helpers.studies.report import BAND_RADIUS

Record = dict[str, Any]


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation, "0.712 ± 0.004"; of one value, itself."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{mean(values):.3f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


# What a row shows: its name, and the keys that lead to its number in a record's report.
ROWS = {
    "**mIoU** at {size} px (95 % interval)": "miou",
    **{f"IoU of {name}": f"iou/{name}" for name in CLASS_NAMES},
    "per-image mIoU": "per_image_miou",
    "pixel accuracy": "accuracy",
    "mIoU at the original resolution (ceiling of {size} px: {ceiling:.3f})": "own_size/miou",
    f"mIoU at most {BAND_RADIUS} px from an outline": "band/miou",
    f"pixel accuracy at most {BAND_RADIUS} px from an outline": "band/accuracy",
    "mIoU of cats (95 % interval)": "cats/miou",
    "mIoU of dogs (95 % interval)": "dogs/miou",
    "IoU of pet, border left out": "pet_iou/border left out",
    "IoU of pet, border is pet": "pet_iou/border is pet",
    "IoU of pet, border is background": "pet_iou/border is background",
    "expected calibration error": "calibration_error",
    "the same, with a temperature fitted on validation": "calibration_error_scaled",
    '"IoU" by the example project\'s definition': "example_definitions/iou",
    '"accuracy" by the example project\'s definition': "example_definitions/accuracy",
}
COLUMNS = {"plain": "test", "with test-time augmentation": "test_flip"}


def results_table(records: Sequence[Record]) -> str:
    """Every score of one recipe on the test split: mean and standard deviation over seeds.

    Args:
        records: runs that differ in the seed only, with test scores.

    Raises ValueError for runs on different pairs.
    """
    check_comparable(records)
    ceiling = records[0]["test"]["own_size"]["ceiling"]

    rows = []
    for name, keys in ROWS.items():
        cells = []
        for column in COLUMNS.values():
            cell = spread([_look_up(record[column], keys) for record in records])
            if "interval" in name:
                beside = keys.removesuffix("miou") + "interval"
                intervals = [_look_up(record[column], beside) for record in records]
                cell += " ({:.3f} to {:.3f})".format(*map(mean, zip(*intervals, strict=True)))
            cells.append(cell)
        rows.append([name.format(size=records[0]["size"], ceiling=ceiling), *cells])
    return markdown(["score", *COLUMNS], rows)


def baselines_table(records: Sequence[Record]) -> str:
    """What predictions score that need no network, on the test split."""
    check_comparable(records)
    rows = [
        [record["name"], *(f"{value:.3f}" for value in main_scores(record["test"]))]
        for record in sorted(records, key=lambda record: record["test"]["miou"])
    ]
    return markdown(["prediction", *MAIN_SCORES], rows)


MAIN_SCORES = ("mIoU", *(f"IoU {name}" for name in CLASS_NAMES), "per-image mIoU", "accuracy")


def main_scores(report: dict) -> list[float]:
    """The numbers of `MAIN_SCORES`."""
    return [report["miou"], *report["iou"].values(), report["per_image_miou"], report["accuracy"]]


def check_comparable(records: Sequence[Record]) -> None:
    """Raises ValueError for runs on different pairs, or at different input sizes."""
    made_on = {(r["dataset"], r["split_hash"], r["size"]) for r in records}
    if len(made_on) != 1:
        raise ValueError(f"these runs must not share a table: they were made on {sorted(made_on)}")


def _look_up(report: dict, keys: str) -> Any:
    """ "band/miou" gives report["band"]["miou"]."""
    for key in keys.split("/"):
        report = report[key]
    return report
