"""Make the tables of README and of the model card anew from the run records: python tests/benchmarks/tables.py"""

from helpers.checkpoint import WEIGHTS
from helpers.source import HOME
from helpers.studies.experiments import load_records
from helpers.studies.tables import fill_tables

if __name__ == "__main__":
    for page in (HOME / "README.md", WEIGHTS / "README.md"):
        page.write_text(fill_tables(page.read_text(encoding="utf-8"), load_records), encoding="utf-8")
