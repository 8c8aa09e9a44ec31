"""Tables in Markdown, made from run records and never typed.

README, RESULTS.md, the model card and notebooks show them; tests/benchmarks/tables.py fills pages.
"""

from collections.abc import Sequence
from math import isnan
from statistics import mean, stdev
from typing import Any

from helpers.constants import CLASS_NAMES
from helpers.studies.report import BAND_RADIUS
from helpers.studies.statistics import Difference, holm, paired_difference

Record = dict[str, Any]
OWN_SIZE = "val/own_size/miou"  # what runs of different input sizes are compared by


def spread(values: Sequence[float], form: str = ".3f") -> str:
    """Mean and sample standard deviation, "0.712 ± 0.004"; of one value, itself.

    form: of a number, such as "+.1%"; a deviation has no sign.
    """
    text = f"{mean(values):{form}}"
    return f"{text} ± {stdev(values):{form.lstrip('+')}}" if len(values) > 1 else text


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


# What a row shows: its name, and the keys that lead to its number in a record's report.
ROWS = {
    "**mIoU** at {size} px (95 % interval)": "miou",
    **{f"IoU of {name}": f"iou/{name}" for name in CLASS_NAMES},
    "per-image mIoU": "per_image_miou",
    "pixel accuracy": "accuracy",
    "mIoU at the images' own size": "own_size/miou",
    f"mIoU at most {BAND_RADIUS} px from an outline": "band/miou",
    f"pixel accuracy at most {BAND_RADIUS} px from an outline": "band/accuracy",
    "mIoU of cats (95 % interval)": "cats/miou",
    "mIoU of dogs (95 % interval)": "dogs/miou",
    "IoU of pet, border left out": "pet_iou/border left out",
    "IoU of pet, border is pet": "pet_iou/border is pet",
    "IoU of pet, border is background": "pet_iou/border is background",
    "expected calibration error": "calibration_error",
    "the same, with a temperature fitted on validation": "calibration_error_scaled",
    '"IoU", close to the example project\'s definition': "example_definitions/iou",
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
    rows = []
    for name, keys in ROWS.items():
        cells = [
            with_interval(records, f"{column}/{keys}")
            if "interval" in name
            else spread(values(records, f"{column}/{keys}"))
            for column in COLUMNS.values()
        ]
        rows.append([name.format(size=records[0]["size"]), *cells])
    return markdown(["score", *COLUMNS], rows)


def runs_table(records: Sequence[Record]) -> str:
    """Final runs on the test list, a row for each way of training, the best first.

    mIoU is at each network's input size: where sizes differ, compare by `details_table`. Raises
    ValueError for runs on different pairs.
    """
    check_comparable(records, "dataset", "split_hash")
    head = ["run", "input", "parameters", "epochs", "minutes", "seeds"]
    head += ["**mIoU** (95 % interval)", "with mirror images", *(f"IoU {c}" for c in CLASS_NAMES)]

    rows = []
    for name, runs in _best_first(records):
        row = [_titled(name, runs), f"{runs[0]['size']} px", millions(runs[0]), epochs(runs)]
        row += [f"{mean(r['minutes'] for r in runs):.0f}", str(len(runs))]
        flipped = all("test_flip" in run for run in runs)
        row += [with_interval(runs, "test/miou")]
        row += [spread(values(runs, "test_flip/miou")) if flipped else "-"]
        rows.append(row + [spread(values(runs, f"test/iou/{c}")) for c in CLASS_NAMES])
    return markdown(head, rows)


def headline_table(records: Sequence[Record], baselines: Sequence[Record] = ()) -> str:
    """The three best ways of training, and the default U-Net, as means over seeds; a baseline.

    mIoU at the input size, IoU of each class there, and mIoU at the images' own size, if known.

    baselines: records of predictions without a network; the best of them is shown.

    Raises ValueError for runs on different pairs.
    """
    check_comparable([*records, *baselines], "dataset", "split_hash")
    head = ["network", "parameters", "input", "**mIoU** (95 % interval)", *CLASS_NAMES, "own size"]

    rows = []
    trained = _best_first(records)
    shown = [*trained[:3], *(run for run in trained[3:] if run[0] == "default U-Net")]
    for name, runs in (*shown, *_best_first(baselines)[:1]):
        size = millions(runs[0]) if "parameters" in runs[0] else "none"
        scores = [f"{mean(values(runs, f'test/iou/{c}')):.3f}" for c in CLASS_NAMES]
        row = [_titled(name, runs), size, f"{runs[0]['size']} px", with_interval(runs, "test/miou")]
        there = all("own_size" in run["test"] for run in runs)
        scores += [f"{mean(values(runs, 'test/own_size/miou')):.3f}" if there else "-"]
        rows.append(row + scores)
    return markdown(head, rows)


def _titled(name: str, runs: Sequence[Record]) -> str:
    """The name, with the weights for photographs that the runs have gone on from, if any."""
    weights = runs[0].get("settings", {}).get("experiment", {}).get("weights", "")
    return f"{name} (from {weights}.pt)" if weights.startswith("pets") else name


def details_table(records: Sequence[Record]) -> str:
    """More scores of the same runs, in the same order.

    The first three are at the images' own size and compare all; the others are at the input size.
    The ceiling is what true masks score that were squashed to the input size and enlarged again.
    Raises ValueError for runs on different pairs.
    """
    check_comparable(records, "dataset", "split_hash")
    near = f"at most {BAND_RADIUS} px from an outline"
    columns = {
        "mIoU, own size": "own_size/miou",
        "its ceiling": "own_size/ceiling",
        f"mIoU, own size, {near}": "own_size/band/miou",
        f"at the input size: mIoU {near}": "band/miou",
        "per-image mIoU": "per_image_miou",
        "pixel accuracy": "accuracy",
        "mIoU of cats": "cats/miou",
        "mIoU of dogs": "dogs/miou",
        "calibration error": "calibration_error",
        "with a temperature": "calibration_error_scaled",
    }
    rows = []
    for name, runs in _best_first(records):
        scores = [spread(values(runs, f"test/{keys}")) for keys in columns.values()]
        rows.append([name, f"{runs[0]['size']} px", *scores])
    return markdown(["run", "input", *columns], rows)


def breeds_table(records: Sequence[Record], count: int = 5) -> str:
    """Test mIoU of the breeds that the best of these runs is best and worst at; means over seeds.

    Raises ValueError for runs on different pairs.
    """
    check_comparable(records, "dataset", "split_hash")
    scores = {
        name: {
            breed: mean(values(runs, f"test/breeds/{breed}")) for breed in runs[0]["test"]["breeds"]
        }
        for name, runs in _best_first(records)
    }
    first = next(iter(scores.values()))
    order = sorted(first, key=lambda breed: -first[breed])
    chosen = dict.fromkeys([*order[:count], *order[-count:]])
    rows = [
        [breed.replace("_", " "), *(f"{of_run[breed]:.3f}" for of_run in scores.values())]
        for breed in chosen
    ]
    ranges = (max(of_run.values()) - min(of_run.values()) for of_run in scores.values())
    rows.append(["best minus worst", *(f"{range_:.3f}" for range_ in ranges)])
    return markdown(["breed", *scores], rows)


def little_data_table(records: Sequence[Record]) -> str:
    """Test mIoU, a row for the weights to begin with, a column for the pairs to train on.

    Raises ValueError for runs on different datasets or at different input sizes.
    """
    check_comparable(records, "dataset", "size")
    cells: dict[str, dict[int, list[Record]]] = {}
    for record in records:
        row = cells.setdefault(begins_with(record), {})
        row.setdefault(record["pairs"]["train"], []).append(record)

    counts = sorted({count for row in cells.values() for count in row})
    rows = [
        [name, *(spread(values(row[n], "test/miou")) if n in row else "-" for n in counts)]
        for name, row in cells.items()
    ]
    return markdown(["weights", *(f"{count:,} pairs" for count in counts)], rows)


def comparison_table(
    records: Sequence[Record], baseline: str = "baseline", keys: str = OWN_SIZE
) -> str:
    """Ways of training beside one of them, paired by the seed, with Holm's correction.

    A difference is given where runs have as many epochs as the baseline's, and a seed in common.
    Raises ValueError for runs on different pairs.
    """
    check_comparable(records, "dataset", "split_hash")
    groups = by_name(records)
    first = groups.get(baseline, [])
    others = {n: r for n, r in groups.items() if n != baseline and epochs(r) == epochs(first)}
    found = paired(others, first, keys)

    # The baseline first, then the best.
    ranked = sorted(groups, key=lambda n: (n != baseline, -mean(values(groups[n], keys))))
    head = ["", "parameters", "rate", "epochs", "seeds"]
    head += ["mIoU, own size" if keys == OWN_SIZE else "mIoU", "IoU border"]
    border = f"{keys.removesuffix('miou')}iou/border"
    head += [f"difference to {baseline} (95 % interval)", "p, corrected"]
    rows = []
    for name in ranked:
        runs = groups[name]
        rate = runs[0]["settings"]["training"]["learning_rate"]
        row = [name, millions(runs[0]), f"{rate:g}", epochs(runs), str(len(runs))]
        row += [spread(values(runs, keys)), spread(values(runs, border))]
        rows.append(row + found.get(name, ["", ""]))
    return markdown(head, rows)


def rates_table(records: Sequence[Record]) -> str:
    """The learning rates that were tried for each network: best validation mIoU, the chosen bold.

    None is chosen before all were tried. A trial's name is that of its network, a comma, and the
    rate. Raises ValueError for runs on different pairs.
    """
    check_comparable(records, "dataset", "split_hash")
    rows: dict[str, dict[float, Record]] = {}
    for record in records:
        name = record["name"].rsplit(", ", 1)[0]
        rows.setdefault(name, {})[record["settings"]["training"]["learning_rate"]] = record
    rates = sorted({rate for row in rows.values() for rate in row})

    lines = []
    for name, row in rows.items():
        scores = {rate: record["val"]["miou"] for rate, record in row.items()}
        done = len(scores) == len(rates)  # before that, none is chosen
        best = max(sorted(scores), key=lambda rate: scores[rate]) if done else None
        cells = (f"{scores[rate]:.3f}" if rate in scores else "-" for rate in rates)
        marked = [f"**{c}**" if r == best else c for r, c in zip(rates, cells, strict=True)]
        lines.append([name, passes(next(iter(row.values()))), *marked])
    return markdown(["network", "epochs", *(f"{rate:g}" for rate in rates)], lines)


def own_images_table(records: Sequence[Record]) -> str:
    """Runs on images of one's own, in the order of the images to train on; notebook 10.

    Scores are of the test split, in the order of the classes. "error of the count" is the mean over
    its groups; "of an image" is without the sign. Raises ValueError for runs on different datasets
    or at different input sizes.
    """
    check_comparable(records, "dataset", "size")
    groups = sorted(by_name(records).items(), key=lambda item: (item[1][0]["images"], item[0]))
    classes = list(groups[0][1][0]["test"]["iou"])
    head = ["labeled images", "seeds", *(f"IoU {name}" for name in classes)]
    rows = []
    for name, runs in groups:
        row = [name, str(len(runs)), *(spread(values(runs, f"test/iou/{c}")) for c in classes)]
        errors = {"relative_error": "+.1%", "absolute_relative_error": ".1%"}
        rows.append([*row, *(spread(values(runs, f"count/{key}"), errors[key]) for key in errors)])
    return markdown([*head, "error of the count", "of an image"], rows)


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


def check_comparable(records: Sequence[Record], *alike: str) -> None:
    """Raises ValueError for runs whose records differ in one of these keys.

    alike: dataset, split_hash and size if none are given.
    """
    keys = alike or ("dataset", "split_hash", "size")
    made_on = {tuple(record[key] for key in keys) for record in records}
    if len(made_on) != 1:
        raise ValueError(f"these runs must not share a table: they were made on {sorted(made_on)}")


def by_name(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Runs that differ in the seed only, by their name; in the order of the seeds."""
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record["seed"]):
        groups.setdefault(record["name"], []).append(record)
    return groups


def paired(
    groups: dict[str, list[Record]], baseline: list[Record], keys: str = OWN_SIZE
) -> dict[str, list[str]]:
    """Two cells for each group of runs: its difference to the baseline, and p by Holm's correction.

    Pairs are runs with the same seed: from one alone there is a difference, but neither an interval
    nor a p-value. Groups without a pair are left out.
    """
    of_seed = {record["seed"]: look_up(record, keys) for record in baseline}
    found = {}
    for name, runs in groups.items():
        both = [run for run in runs if run["seed"] in of_seed]
        if both:
            beside = [of_seed[run["seed"]] for run in both]
            found[name] = paired_difference(values(both, keys), beside)
    corrected = holm([difference.p for difference in found.values()])
    return {
        name: [_signed(difference), "-" if isnan(p) else f"{p:.3f}" if p >= 0.001 else "< 0.001"]
        for (name, difference), p in zip(found.items(), corrected, strict=True)
    }


def _signed(difference: Difference) -> str:
    if isnan(difference.low):
        return f"{difference.mean:+.3f}"
    return f"{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def look_up(record: dict, keys: str) -> Any:
    """ "test/band/miou" gives record["test"]["band"]["miou"]."""
    for key in keys.split("/"):
        record = record[key]
    return record


def values(records: Sequence[Record], keys: str) -> list[float]:
    """The numbers that `look_up` finds in each record."""
    return [look_up(record, keys) for record in records]


def with_interval(records: Sequence[Record], keys: str) -> str:
    """`spread`, and the ends of the intervals over the images, averaged over the runs."""
    intervals = values(records, keys.removesuffix("miou") + "interval")
    low, high = (mean(ends) for ends in zip(*intervals, strict=True))
    return f"{spread(values(records, keys))} ({low:.3f} to {high:.3f})"


def millions(record: Record) -> str:
    """The number of parameters."""
    return f"{record['parameters'] / 1e6:.2f} M"


def epochs(records: Sequence[Record]) -> str:
    """Those of one or several runs, such as "5" or "2, 3"."""
    return ", ".join(map(str, sorted({len(r["history"]["seconds"]) for r in records})))


def passes(record: Record) -> str:
    """How often a run saw each of its pairs, which need not be its number of validations."""
    samples = record["settings"]["experiment"].get("samples") or record["pairs"]["train"]
    return f"{round(samples * len(record['history']['seconds']) / record['pairs']['train'], 1):g}"


def begins_with(record: Record) -> str:
    """The weights that a run began with, in words."""
    names = {"": "random", "synthetic": "synthetic pets", "imagenet": "ImageNet, in the encoder"}
    weights = record["settings"]["experiment"]["weights"]
    return names.get(weights, weights)


def _best_first(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    groups = by_name(records)
    return sorted(groups.items(), key=lambda item: -mean(values(item[1], "test/miou")))
