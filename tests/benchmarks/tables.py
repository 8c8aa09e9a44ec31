"""Make notebooks/RESULTS.md, and the tables of README and the model card, from the run records:

    python tests/benchmarks/tables.py

A page has a table between `<!-- table: NAME -->` and `<!-- end -->`; NAME is one of `TABLES`, or
"scores of RUN" for every score of one of the final runs, or "failures of NAME" for those of shipped
weights.
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from helpers.files import atomic
from helpers.studies.records import load_records
from helpers.studies.tables import (
    baselines_table,
    breeds_table,
    by_name,
    comparison_table,
    details_table,
    headline_table,
    little_data_table,
    results_table,
    runs_table,
)

import matplotlib.pyplot as plt
from curves import plot_little_data, plot_peers
from failures import failures_table
from matplotlib.figure import Figure
from minutes import speed_table
from PIL import Image
from results import NO_RECORD, Load, of_the_dataset, results_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "helpers/weights/README.md"]
RESULTS = ROOT / "notebooks/RESULTS.md"

# The tables of pages, and the studies whose records they show.
TABLES: dict[str, tuple[tuple[str, ...], Callable[..., str]]] = {
    "headline": (("results", "baselines"), headline_table),
    "results": (("results",), runs_table),
    "details": (("results",), details_table),
    "breeds": (("results",), breeds_table),
    "little data": (("little-data",), little_data_table),
    "ablation": (("ablation",), comparison_table),
    "baselines": (("baselines",), baselines_table),
    "speed": (("speed",), speed_table),
}


def fill_tables(text: str, load: Load) -> str:
    """A page with each table between its two marks made anew, or "no record yet" in its place.

    load gives the records of a study, as `load_records` does; those of the photographs are used.
    Raises KeyError for an unknown table or run.
    """
    load = of_the_dataset(load)

    def table(match: re.Match) -> str:
        studies, make = _table(match[2])
        try:
            made = make(*map(load, studies))
        except FileNotFoundError:
            made = NO_RECORD
        return f"{match[1]}\n\n{made}\n\n{match[3]}"

    marks = r"(<!-- table: (.+?) -->).*?(<!-- end -->)"
    return re.sub(marks, table, text, flags=re.DOTALL)


def _table(name: str) -> tuple[tuple[str, ...], Callable[..., str]]:
    """Some studies, and what makes the table of their records."""
    if name.startswith("scores of "):
        run = name.removeprefix("scores of ")
        # The seed whose weights are shipped.
        return ("results",), lambda records: results_table(
            [record for record in by_name(records)[run] if record["seed"] == 0]
        )
    if name.startswith("failures of "):
        weights = name.removeprefix("failures of ")
        return ("failures",), lambda records: failures_table(by_name(records)[weights][0])
    return TABLES[name]


# The figures of RESULTS.md, and the studies that they show.
FIGURES: dict[str, tuple[tuple[str, ...], Callable[..., Figure]]] = {
    "results_peers.png": (("peers", "speed"), lambda runs, speeds: plot_peers(runs, speeds[0])),
    "results_little_data.png": (("little-data",), plot_little_data),
}


def draw_figures(folder: Path, load: Load) -> None:
    """Draw the figures whose records have changed; delete those that have none any more."""
    load = of_the_dataset(load)
    for name, (studies, plot) in FIGURES.items():
        digest = digest_of(studies, load)
        if digest is None:
            (folder / name).unlink(missing_ok=True)
        elif digest != drawn_from(folder / name):
            figure = plot(*map(load, studies))
            with atomic(folder / name) as partial:
                metadata = {"Description": digest, "Software": None}
                figure.savefig(partial, format="png", dpi=120, metadata=metadata)
            plt.close(figure)


def digest_of(studies: tuple[str, ...], load: Load = load_records) -> str | None:
    """What tells the records of some studies from others; None if one has none."""
    try:
        records = json.dumps([of_the_dataset(load)(study) for study in studies], sort_keys=True)
    except FileNotFoundError:
        return None
    return hashlib.sha256(records.encode()).hexdigest()


def drawn_from(path: Path) -> str | None:
    """The digest that a figure was saved with; None if there is no such figure."""
    if not path.is_file():
        return None
    with Image.open(path) as image:
        return image.info.get("Description")


def main() -> None:
    RESULTS.write_text(results_page(load_records), "utf-8")
    draw_figures(RESULTS.parent, load_records)
    for page in PAGES:
        page.write_text(fill_tables(page.read_text(encoding="utf-8"), load_records), "utf-8")


if __name__ == "__main__":
    main()
