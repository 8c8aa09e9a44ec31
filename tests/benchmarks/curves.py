"""The plots of RESULTS.md, from run records."""

from collections.abc import Sequence
from math import nan
from statistics import mean, stdev

from helpers.studies.tables import Record, begins_with, by_name, values

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from minutes import minutes_of_an_epoch
from results import DATASET

COLORS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = "osD^vP*"


def plot_peers(records: Sequence[Record], speeds: Record) -> Figure:
    """Validation mIoU against minutes, the mean over the seeds, for each network."""
    figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for i, (name, runs) in enumerate(by_name(records).items()):
        histories = [run["history"]["val_miou"] for run in runs]
        epoch = minutes_of_an_epoch(runs[0], speeds)
        minutes = [epoch * (k + 1) for k in range(len(histories[0]))]
        scores = [mean(of_epoch) for of_epoch in zip(*histories, strict=True)]
        style = {"color": COLORS[i % len(COLORS)], "marker": MARKS[i % len(MARKS)]}
        ax.plot(minutes, scores, label=f"{name} ({len(runs)})", markersize=4, **style)
    ax.set(xlabel=f"minutes of training alone on {speeds['device']}", xlim=(0, None))
    ax.set(ylabel="validation mIoU, mean over the seeds (their number)", title=DATASET)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def plot_little_data(records: Sequence[Record]) -> Figure:
    """Test mIoU against the number of training pairs, for each kind of weights to begin with."""
    groups: dict[str, dict[int, list[Record]]] = {}
    for record in records:
        group = groups.setdefault(begins_with(record), {})
        group.setdefault(record["pairs"]["train"], []).append(record)

    several = any(len(runs) > 1 for of_count in groups.values() for runs in of_count.values())
    figure, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
    for i, (name, of_count) in enumerate(groups.items()):
        counts = sorted(of_count)
        scores = [values(of_count[count], "test/miou") for count in counts]
        spreads = [stdev(some) if len(some) > 1 else nan for some in scores] if several else None
        style = {"color": COLORS[i % len(COLORS)], "marker": MARKS[i % len(MARKS)]}
        ax.errorbar(counts, list(map(mean, scores)), spreads, label=name, capsize=3, **style)
    counts = sorted({count for of_count in groups.values() for count in of_count})
    ax.set(xscale="log", xlabel="training pairs", title=DATASET)
    ax.set_ylabel("test mIoU, mean ± standard deviation" if several else "test mIoU, one seed")
    ax.set_xticks(counts, [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    figure.legend(frameon=False, title="begun with", loc="outside right center")
    return figure
