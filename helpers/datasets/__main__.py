"""Data of your own, from the shell:

python -m helpers.datasets check FOLDER
python -m helpers.datasets check FOLDER --repair NEW
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.datasets.check import check_folder, report
from helpers.datasets.repair import check_target, repair_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 for success, 1 for data with errors or an error, said in words."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.datasets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_check(commands)
    options = parser.parse_args(arguments)

    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # odd file names
    try:
        return options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}")
        return 1


def add_check(commands: argparse._SubParsersAction) -> None:
    about = "find all that is wrong with a folder of your own"
    parser = commands.add_parser("check", help=about, description=about)
    parser.add_argument("folder", type=Path, help="holds images/, masks/ and classes.csv")
    parser.add_argument(
        "--repair", type=Path, metavar="NEW", help="write a copy with what has one right mend"
    )
    parser.add_argument("--channels", type=int, nargs=3, help="that are read as RGB, from 0 on")
    parser.add_argument("--show", type=int, default=3, help="examples of a kind (default: 3)")
    parser.set_defaults(run=run_check)


def run_check(options: argparse.Namespace) -> int:
    if options.repair:
        check_target(options.folder, options.repair)
    findings = check_folder(options.folder, options.channels)
    print(report(findings, options.folder, options.show))

    if options.repair:
        if not any(finding.repair for finding in findings):
            print("Nothing there has one right mend: no copy was written.")
        else:
            mended = repair_folder(options.folder, findings, options.repair)
            kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(mended.items()))
            print(f"\nRepaired in {options.repair}: {kinds}. What remains there:")
            findings = check_folder(options.repair, options.channels)
            print(report(findings, options.repair, options.show))
    return int(any(finding.is_error for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
