from helpers.studies.report import full_report
from helpers.studies.statistics import paired_difference
from helpers.studies.tables import (
    baselines_table,
    breeds_table,
    comparison_table,
    details_table,
    headline_table,
    little_data_table,
    markdown,
    own_images_table,
    rates_table,
    results_table,
    runs_table,
    spread,
)

import pytest
import torch
from stand_in import stand_in, trained_record


@pytest.fixture(scope="module")
def report(splits):
    made = full_report(torch.rand(len(splits.test), 3, 64, 64), splits.test)
    return made | {"calibration_error": 0.05, "calibration_error_scaled": 0.02}


def record(report, name="net", seed=0, **changes):
    made = {"name": name, "seed": seed, "dataset": "synthetic", "split_hash": "a", "size": 64}
    return made | {"test": report, "test_flip": report} | changes


def cells(table, start):
    line = next(line for line in table.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def column(table, name):
    """The cells of a column, by the first cell of their row."""
    head, _, *rows = (line.strip("|").split("|") for line in table.splitlines())
    place = [cell.strip() for cell in head].index(name)
    return {row[0].strip(): row[place].strip() for row in rows}


@pytest.fixture(scope="module")
def trained(drawn):
    return trained_record(drawn)


def test_spread():
    assert spread([0.5]) == "0.500"
    assert spread([0.5, 0.6, 0.7]) == "0.600 ± 0.100"


def test_markdown():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_results_are_means_over_seeds(report):
    interval = [end + 0.2 for end in report["interval"]]
    better = report | {"miou": report["miou"] + 0.2, "interval": interval}
    table = results_table([record(report), record(better, seed=1)])
    low, high = (end + 0.1 for end in report["interval"])
    assert cells(table, "**mIoU** at 64 px")[1] == (
        f"{report['miou'] + 0.1:.3f} ± {0.2 / 2**0.5:.3f} ({low:.3f} to {high:.3f})"
    )
    assert cells(table, "IoU of border")[1] == f"{report['iou']['border']:.3f} ± 0.000"
    assert cells(table, "mIoU of dogs")[1].startswith(f"{report['dogs']['miou']:.3f} ± 0.000 (")
    own = cells(table, "mIoU at the images' own size")[1]
    assert own == f"{report['own_size']['miou']:.3f} ± 0.000"


def test_columns_without_and_with_test_time_augmentation(report):
    table = results_table([record(report, test_flip=report | {"accuracy": 0.987})])
    assert cells(table, "score")[1:] == ["plain", "with test-time augmentation"]
    assert cells(table, "pixel accuracy")[1:] == [f"{report['accuracy']:.3f}", "0.987"]


def test_runs_on_other_pairs_are_refused(report):
    for change in ({"dataset": "Oxford-IIIT Pet (full)"}, {"split_hash": "b"}, {"size": 96}):
        with pytest.raises(ValueError, match="must not share a table"):
            results_table([record(report), record(report, seed=1, **change)])


def test_baselines_from_low_to_high(report):
    high, low = record(report | {"miou": 0.4}, "b"), record(report | {"miou": 0.3}, "a")
    table = baselines_table([high, low])
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["a", "b"]
    assert cells(table, "a")[1] == "0.300"


def test_own_images_by_their_number():
    def run(name, images, seed, cell, error):
        counted = {"relative_error": error, "absolute_relative_error": abs(error)}
        made = {"name": name, "images": images, "seed": seed, "count": counted, "size": 128}
        return made | {"dataset": "cells", "test": {"iou": {"background": 0.9, "cell": cell}}}

    runs = [
        run("20 images", 20, 0, 0.8, -0.02),
        run("5 images", 5, 0, 0.5, -0.3),
        run("5 images", 5, 1, 0.7, 0.1),
    ]
    table = own_images_table(runs)
    assert list(column(table, "seeds").items()) == [("5 images", "2"), ("20 images", "1")]
    assert cells(table, "5 images")[2:] == [
        *("0.900 ± 0.000", "0.600 ± 0.141"),
        *("-10.0% ± 28.3%", "20.0% ± 14.1%"),
    ]
    assert column(table, "error of the count")["20 images"] == "-2.0%"
    with pytest.raises(ValueError, match="must not share a table"):
        own_images_table([*runs, run("x", 5, 0, 0.5, 0.0) | {"dataset": "pets"}])


def test_final_runs_the_best_first(trained):
    runs = [
        stand_in(trained, "small", test__miou=0.5, size=32),
        stand_in(trained, "large", 0, test__miou=0.6, size=64, test__interval=[0.55, 0.65]),
        stand_in(trained, "large", 1, test__miou=0.7, size=64, test__interval=[0.65, 0.75]),
    ]
    table = runs_table(runs)
    assert list(column(table, "seeds").items()) == [("large", "2"), ("small", "1")]
    score = column(table, "**mIoU** (95 % interval)")
    assert score["large"] == "0.650 ± 0.071 (0.600 to 0.700)"
    assert column(table, "input")["large"] == "64 px" and column(table, "epochs")["small"] == "2"
    assert column(table, "IoU border")["small"] == f"{trained['test']['iou']['border']:.3f}"
    assert column(table, "with mirror images")["small"] == f"{trained['test_flip']['miou']:.3f}"

    trivial = [stand_in(trained, name, test__miou=miou) for name, miou in (("x", 0.1), ("y", 0.2))]
    for baseline in trivial:
        del baseline["parameters"]
    others = [stand_in(runs[0], name) for name in "abc"]
    headline = headline_table([*runs, *others], trivial)
    assert list(column(headline, "parameters"))[::3] == ["large", "y"]
    default = stand_in(trained, "default U-Net", test__miou=0.01)
    with_default = headline_table([*runs, *others, default], trivial)
    assert list(column(with_default, "parameters"))[3:] == ["default U-Net", "y"]
    assert cells(headline, "y")[1:3] == ["none", f"{trained['size']} px"]
    assert column(headline, "pet")["y"] == f"{trained['test']['iou']['pet']:.3f}"
    assert column(headline, "own size")["large"] == f"{trained['test']['own_size']['miou']:.3f}"
    unknown = stand_in(
        trained, "z", test={k: trained["test"][k] for k in ("miou", "interval", "iou")}
    )
    assert column(headline_table([unknown]), "own size") == {"z": "-"}

    own = column(details_table(runs), "mIoU, own size")
    assert list(own) == ["large", "small"]
    assert own["small"] == f"{trained['test']['own_size']['miou']:.3f}"


def test_a_run_that_goes_on_from_shipped_weights_says_so(trained):
    settings = trained["settings"]
    begun = settings | {"experiment": settings["experiment"] | {"weights": "pets"}}
    for table in (runs_table, headline_table):
        names = column(table([stand_in(trained, "more", settings=begun)]), "parameters")
        assert list(names) == ["more (from pets.pt)"]


def test_a_run_that_was_not_mirrored(trained):
    plain = {key: value for key, value in trained.items() if key != "test_flip"}
    assert column(runs_table([plain]), "with mirror images") == {"tiny": "-"}


def test_best_and_worst_breeds(trained):
    breeds = {"a_cat": 0.9, "b": 0.5, "c": 0.7, "d": 0.1}
    other = {"a_cat": 0.2, "b": 0.4, "c": 0.3, "d": 0.6}
    runs = [
        stand_in(trained, "worse", test__miou=0.4, test__breeds=other),
        stand_in(trained, "better", test__miou=0.6, test__breeds=breeds),
    ]
    table = breeds_table(runs, count=1)
    assert column(table, "better") == {"a cat": "0.900", "d": "0.100", "best minus worst": "0.800"}
    assert column(table, "worse") == {"a cat": "0.200", "d": "0.600", "best minus worst": "0.400"}


def test_little_data_by_weights_and_pairs(trained):
    few, all_pairs = ({"train": n, "val": 9, "test": 37} for n in (7, 1234))
    runs = [
        stand_in(trained, "random, few", seed, pairs=few, test__miou=miou)
        for seed, miou in enumerate((0.3, 0.4))
    ]
    runs.append(stand_in(trained, "random", pairs=all_pairs, test__miou=0.7))
    runs.append(stand_in(trained, "drawn", pairs=few, test__miou=0.6))
    runs[-1]["settings"]["experiment"]["weights"] = "synthetic"
    table = little_data_table(runs)
    assert cells(table, "weights") == ["weights", "7 pairs", "1,234 pairs"]
    assert cells(table, "random") == ["random", "0.350 ± 0.071", "0.700"]
    assert cells(table, "synthetic pets") == ["synthetic pets", "0.600", "-"]


def own_size(trained, name, scores, **changes):
    return [
        stand_in(trained, name, seed, val__own_size__miou=score, **changes)
        for seed, score in enumerate(scores, 1)
    ]


def test_differences_are_paired_by_seed_and_corrected(trained):
    scores = {"baseline": (0.70, 0.71, 0.75), "a": (0.72, 0.74, 0.77), "b": (0.60, 0.71, 0.75)}
    runs = [run for name, some in scores.items() for run in own_size(trained, name, some)]
    table = comparison_table(runs[::-1])  # in any order

    difference = column(table, "difference to baseline (95 % interval)")
    assert list(difference) == ["baseline", "a", "b"] and difference["baseline"] == ""
    found = {name: paired_difference(scores[name], scores["baseline"]) for name in "ab"}
    a = found["a"]
    assert difference["a"] == f"{a.mean:+.3f} ({a.low:+.3f} to {a.high:+.3f})"

    p = column(table, "p, corrected")
    assert a.p < found["b"].p and p["a"] == f"{2 * a.p:.3f}" and p["b"] == f"{found['b'].p:.3f}"


def test_what_cannot_be_compared_has_no_difference(trained):
    """Other epochs, another seed; and of one seed, there is neither an interval nor a p."""
    runs = own_size(trained, "baseline", (0.7,)) + own_size(trained, "one", (0.75,))
    runs += own_size(trained, "long", (0.9,), history__seconds=[1.0] * 3)
    runs.append(stand_in(trained, "other seed", seed=9))
    table = comparison_table(runs)
    difference = column(table, "difference to baseline (95 % interval)")
    assert difference["one"] == "+0.050" and difference["long"] == difference["other seed"] == ""
    assert column(table, "p, corrected")["one"] == "-"
    assert set(column(comparison_table(runs, "none"), "p, corrected").values()) == {""}


def test_rates_and_the_chosen_one(trained):
    runs = []
    for name, rate, miou in (("a, b", 1e-3, 0.5), ("a, b", 3e-3, 0.6), ("c", 1e-3, 0.4)):
        runs.append(stand_in(trained, f"{name}, {rate:g}", val__miou=miou))
        runs[-1]["settings"]["training"]["learning_rate"] = rate
    table = rates_table(runs)
    assert cells(table, "network") == ["network", "epochs", "0.001", "0.003"]
    assert cells(table, "a") == ["a, b", "2", "0.500", "**0.600**"]
    assert cells(table, "c") == ["c", "2", "0.400", "-"]  # the other trial is yet to come


@pytest.mark.parametrize(
    "table",
    [headline_table, runs_table, details_table, breeds_table, comparison_table, rates_table],
)
def test_runs_on_other_pairs_share_no_table(trained, table):
    with pytest.raises(ValueError, match="must not share a table"):
        table([trained, stand_in(trained, "other", split_hash="b")])
    with pytest.raises(ValueError, match="must not share a table"):
        little_data_table([trained, stand_in(trained, "other", size=224)])
