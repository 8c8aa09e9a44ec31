"""Tables in Markdown, made from run records and never typed. README and notebook 05 show them."""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import mean, stdev

from helpers.data import CLASS_NAMES
from helpers.report import BAND_RADIUS

Record = dict


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation, "0.712 ± 0.004"; of one value, itself."""
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{mean(values):.3f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def results_table(records: Sequence[Record], columns: dict[str, str] | None = None) -> str:
    """Every score of one recipe on the test list: mean and standard deviation over seeds.

    Args:
        records: runs that differ in the seed only, with test scores.
        columns: headings and the record's keys below them.

    Raises ValueError for runs on different pairs.
    """
    _check_comparable(records)
    columns = columns or {"one look": "test", "with the mirror image": "test_flip"}
    size = records[0]["size"]

    def row(
        name: str, value: Callable[[dict], float], interval: Callable[[dict], list] | None = None
    ) -> list[str]:
        cells = [name]
        for key in columns.values():
            reports = [record[key] for record in records]
            cell = spread([value(report) for report in reports])
            if interval:
                cell += " ({:.3f} to {:.3f})".format(
                    *(mean(ends) for ends in zip(*map(interval, reports), strict=True))
                )
            cells.append(cell)
        return cells

    first = records[0][next(iter(columns.values()))]
    rows = [
        row(f"**mIoU** at {size} px (95 % interval)", lambda r: r["miou"], lambda r: r["interval"]),
        *(row(f"IoU of {name}", lambda r, name=name: r["iou"][name]) for name in CLASS_NAMES),
        row("mean of the images' own mIoU", lambda r: r["per_image_miou"]),
        row("pixel accuracy", lambda r: r["accuracy"]),
        row(
            f"mIoU at the photo's own size (ceiling of {size} px: {first['own_size']['ceiling']:.3f})",
            lambda r: r["own_size"]["miou"],
        ),
        row(f"mIoU at most {BAND_RADIUS} px from an outline", lambda r: r["band"]["miou"]),
        row(
            f"pixel accuracy at most {BAND_RADIUS} px from an outline",
            lambda r: r["band"]["accuracy"],
        ),
        row(
            "mIoU of cats (95 % interval)",
            lambda r: r["cats"]["miou"],
            lambda r: r["cats"]["interval"],
        ),
        row(
            "mIoU of dogs (95 % interval)",
            lambda r: r["dogs"]["miou"],
            lambda r: r["dogs"]["interval"],
        ),
        *(
            row(f"IoU of pet, {name}", lambda r, name=name: r["pet_iou"][name])
            for name in first["pet_iou"]
        ),
        row("expected calibration error", lambda r: r["calibration_error"]),
        row(
            "the same, with a temperature fitted on validation",
            lambda r: r["calibration_error_scaled"],
        ),
        row(
            '"IoU" by the example project\'s definition', lambda r: r["example_definitions"]["iou"]
        ),
        row(
            '"accuracy" by the example project\'s definition',
            lambda r: r["example_definitions"]["accuracy"],
        ),
    ]
    return markdown(["score", *columns], rows)


def baselines_table(records: Sequence[Record]) -> str:
    """What answers score that need no network."""
    _check_comparable(records)
    rows = [
        [r["name"], *(f"{value:.3f}" for value in _main_scores(r["test"]))]
        for r in sorted(records, key=lambda r: r["test"]["miou"])
    ]
    return markdown(
        ["answer", "mIoU", *(f"IoU {name}" for name in CLASS_NAMES), "per-image mIoU", "accuracy"],
        rows,
    )


def models_table(records: Sequence[Record]) -> str:
    """Networks by test mIoU, and after how many seconds each first reached the final validation mIoU of others."""
    _check_comparable(records)
    names = sorted(
        {r["name"] for r in records}, key=lambda name: -mean(_of(records, name, "test", "miou"))
    )
    goals = {
        name: mean(r["history"]["val_miou"][-1] for r in records if r["name"] == name)
        for name in names
    }
    goals = {name: goal for name, goal in goals.items() if "ours" not in name}
    head = [
        "network",
        "parameters",
        "images/s",
        "epochs",
        "test mIoU",
        *(f"IoU {name}" for name in CLASS_NAMES),
    ]
    head += ["per-image mIoU", "accuracy"]
    head += [f"seconds to {goal:.3f} ({name.split()[0]}'s end)" for name, goal in goals.items()]
    rows = []
    for name in names:
        runs = [r for r in records if r["name"] == name]
        row = [
            name,
            f"{runs[0]['parameters'] / 1e6:.2f} M",
            f"{mean(r['images_per_second'] for r in runs):.1f}",
        ]
        row.append(str(len(runs[0]["history"]["seconds"])))
        row += [
            spread(values) for values in zip(*(_main_scores(r["test"]) for r in runs), strict=True)
        ]
        for goal in goals.values():
            times = [seconds_to(r, goal) for r in runs]
            row.append("not reached" if None in times else f"{mean(times):.0f}")
        rows.append(row)
    return markdown(head, rows)


def cost_table(records: Sequence[Record]) -> str:
    """For each device: what each width costs, then how fast the default trains in several settings."""
    parts = []
    for record in records:
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
        rows = [[name, f"{rate:.1f}"] for name, rate in record["settings"].items()]
        parts.append(markdown([f"the default on {record['name']}", "images/s"], rows))
        rows = [[name, f"{share:.0%}"] for name, share in record["waiting_share"].items()]
        parts.append(markdown(["share of an epoch spent waiting for data", ""], rows))
    return "\n\n".join(parts)


def seconds_to(record: Record, goal: float) -> float | None:
    """Seconds of training and validation until the validation mIoU first was at least `goal`, None if never."""
    history = record["history"]
    elapsed = accumulate(history["seconds"])
    return next(
        (s for s, miou in zip(elapsed, history["val_miou"], strict=True) if miou >= goal), None
    )


def _main_scores(report: dict) -> list[float]:
    return [report["miou"], *report["iou"].values(), report["per_image_miou"], report["accuracy"]]


def _of(records: Sequence[Record], name: str, part: str, key: str) -> list[float]:
    return [r[part][key] for r in records if r["name"] == name]


def _check_comparable(records: Sequence[Record]) -> None:
    made_on = {(r["dataset"], r["split_hash"], r["size"]) for r in records}
    if len(made_on) != 1:
        raise ValueError(f"these runs must not share a table: they were made on {sorted(made_on)}")


TABLES = {
    "recipe": results_table,
    "baselines": baselines_table,
    "models": models_table,
    "cost": cost_table,
}


def fill_tables(text: str, load: Callable[[str], list[Record]]) -> str:
    """A page whose tables, each between `<!-- table: STUDY -->` and `<!-- end -->`, are made anew from records."""

    def table(match: re.Match) -> str:
        return f"{match[1]}\n\n{TABLES[match[2]](load(match[2]))}\n\n{match[3]}"

    return re.sub(r"(<!-- table: ([\w-]+) -->).*?(<!-- end -->)", table, text, flags=re.DOTALL)
