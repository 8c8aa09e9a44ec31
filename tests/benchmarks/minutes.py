"""Networks at equal minutes: each at the speed that it has alone, as speed.py measured it."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean

from helpers.constants import CLASS_NAMES
from helpers.studies.experiments import NETWORKS, Experiment
from helpers.studies.tables import (
    Record,
    by_name,
    check_comparable,
    markdown,
    millions,
    paired,
    passes,
    spread,
    values,
)

BY_CLASS = [f"iou/{name}" for name in CLASS_NAMES]


def speed_of(run: Record, speeds: Record) -> float:
    """Images per second in training of the network of a run, as measured alone.

    It is the speed in the precision of the machine's measurement, which the run's need not be.
    Raises KeyError if the network was not measured at this size.
    """
    experiment = run["settings"]["experiment"]
    wanted = {key: experiment[key] for key in ("network", "model", "size")}
    wanted["precision"] = speeds["precision"]
    for case in speeds["networks"].values():
        if {key: case[key] for key in wanted} == wanted:
            return case["training"]
    raise KeyError(f"{speeds['name']}: the speed of {wanted} was not measured")


def minutes_of_an_epoch(run: Record, speeds: Record) -> float:
    """At the speed measured alone, validation left out."""
    samples = run["settings"]["experiment"].get("samples") or run["pairs"]["train"]
    return samples / speed_of(run, speeds) / 60


def peers_table(records: Sequence[Record], speeds: Record) -> str:
    """Networks at equal minutes, the best first, and how far each is from ours on the test list.

    Raises ValueError for runs on different pairs or at different sizes, KeyError for a network
    whose speed was not measured.
    """
    check_comparable(records)
    groups = by_name(records)
    ours = {name: runs for name, runs in groups.items() if network(runs[0]) in NETWORKS}
    theirs = {name: runs for name, runs in groups.items() if name not in ours}
    default = next((runs for runs in ours.values() if is_default(runs[0])), [])
    found = paired(theirs, default, "test/miou")

    head = ["network", "parameters", "rate", "images/s", "epochs", "minutes", "seeds", "test mIoU"]
    head += [f"IoU {name}" for name in CLASS_NAMES]
    head += ["difference to ours (95 % interval)", "p, corrected"]
    head += [f"{name} had its validation score after" for name in ours]

    rows = []
    for name, runs in sorted(groups.items(), key=lambda item: -mean(values(item[1], "test/miou"))):
        run = runs[0]
        minutes = minutes_of_an_epoch(run, speeds) * len(run["history"]["seconds"])
        row = [name, millions(run), f"{run['settings']['training']['learning_rate']:g}"]
        row += [f"{speed_of(run, speeds):.1f}", passes(run), f"{minutes:.1f}", str(len(runs))]
        row += [spread(values(runs, f"test/{key}")) for key in ("miou", *BY_CLASS)]
        row += found.get(name, ["", ""])
        until = (minutes_until(of_ours, runs, speeds) for of_ours in ours.values())
        rows.append([*row, *(until if name in theirs else [""] * len(ours))])
    return markdown(head, rows)


def network(run: Record) -> str:
    """What `helpers.train --network` was told."""
    return run["settings"]["experiment"]["network"]


def is_default(run: Record) -> bool:
    """The network that peers are compared with: the default one, from random weights."""
    usual = asdict(Experiment())
    return all(
        run["settings"]["experiment"][k] == usual[k] for k in ("network", "model", "weights")
    )


def minutes_until(runs: Sequence[Record], others: Sequence[Record], speeds: Record) -> str:
    """Minutes of training until the validation mIoU was at least the best of another network.

    The mean over the seeds that both have; "-" if there is none. A run is validated now and then
    only, so it may have had that score before.
    """
    goals = {other["seed"]: max(other["history"]["val_miou"]) for other in others}
    reached = []
    for run in runs:
        if run["seed"] not in goals:
            continue
        curve = enumerate(run["history"]["val_miou"], start=1)
        ends = [k for k, miou in curve if miou >= goals[run["seed"]]]
        if not ends:
            return "not reached"
        reached.append(ends[0] * minutes_of_an_epoch(run, speeds))
    return f"{mean(reached):.1f} min" if reached else "-"


def speed_table(records: Sequence[Record]) -> str:
    """Images per second of each network, alone on a machine."""
    parts = []
    for record in records:
        head = [record["device"], "input", "precision", "parameters", "training", "evaluation"]
        rows = [
            [name, f"{case['size']} px", case["precision"], millions(case)]
            + [_speed_of_rounds(case, kind) for kind in ("training", "evaluation")]
            for name, case in record["networks"].items()
        ]
        parts.append(markdown(head, rows))
    return "\n\n".join(parts)


def _speed_of_rounds(case: Record, kind: str) -> str:
    """The median, and the slowest and the fastest round."""
    rounds = case["rounds"][kind]
    return f"{case[kind]:.1f} ({min(rounds):.1f} to {max(rounds):.1f})"
