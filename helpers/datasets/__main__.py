"""Images of your own: from a labeling tool, checked, and back.

    python -m helpers.datasets import cvat UNPACKED --out mine
    python -m helpers.datasets check mine
    python -m helpers.datasets check mine --repair mended
    python -m helpers.datasets export coco mine --out for_coco

KIND is cvat, voc, coco, label-studio or binary; helpers/datasets/formats/ says what each looks
like, helpers/datasets/importers.py what becomes of overlaps and of pixels without a label. `check`
names all that is wrong, and exits with 1 if there is an error.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers.datasets.check import check_folder, report
from helpers.datasets.importers import KINDS, export_folder, import_folder
from helpers.datasets.repair import check_target, repair_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 if all is well, 1 for data with errors, or an error, told in one line."""
    options = parser().parse_args(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # odd file names
    try:
        return options.run(options) or 0
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """A subparser for each command; `run` is what it does."""
    made = argparse.ArgumentParser(
        prog="python -m helpers.datasets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("import", help="from a labeling tool's format to ours")
    command.set_defaults(run=_import)
    _add_kind(command)
    command.add_argument("source", metavar="SOURCE", help="the unpacked export, or its JSON file")
    command.add_argument("--out", required=True, metavar="FOLDER", help="the new folder")
    command.add_argument("--images", metavar="FOLDER", help="the images, if not in SOURCE")

    command = commands.add_parser("export", help="from our format to a labeling tool's")
    command.set_defaults(run=_export)
    _add_kind(command)
    command.add_argument("folder", metavar="MINE", help="with images/, masks/ and classes.csv")
    command.add_argument("--out", required=True, metavar="FOLDER", help="the new folder")

    command = commands.add_parser("check", help="find all that is wrong with a folder of your own")
    command.set_defaults(run=_check)
    command.add_argument("folder", type=Path, help="with images/, masks/ and classes.csv")
    text = "write a copy with what has one right mend"
    command.add_argument("--repair", type=Path, metavar="NEW", help=text)
    command.add_argument("--channels", type=int, nargs=3, help="that are read as RGB, from 0 on")
    text = 'a kind of finding that is no error here, such as "empty masks"'
    command.add_argument("--allow", nargs="+", default=[], metavar="KIND", help=text)
    command.add_argument("--show", type=int, default=3, help="examples of a kind (default: 3)")
    return made


def _add_kind(command: argparse.ArgumentParser) -> None:
    command.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))


def _import(options: argparse.Namespace) -> None:
    import_folder(options.kind, options.source, options.out, options.images)


def _export(options: argparse.Namespace) -> None:
    export_folder(options.folder, options.kind, options.out)


def _check(options: argparse.Namespace) -> int:
    """Check, and if it is asked for, repair and check what came out. 1 if an error remains."""
    if options.repair:
        check_target(options.folder, options.repair)
    findings = check_folder(options.folder, options.channels, allowed=options.allow)
    print(report(findings, options.folder, options.show))
    for kind in sorted({*options.allow} - {finding.kind for finding in findings}):
        print(f"--allow {kind!r}: nothing of this kind was found")

    if options.repair:
        if not any(finding.repair for finding in findings):
            print("Nothing there has one right mend: no copy was written.")
        else:
            mended = repair_folder(options.folder, findings, options.repair)
            kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(mended.items()))
            print(f"\nRepaired in {options.repair}: {kinds}. What remains there:")
            findings = check_folder(options.repair, options.channels, allowed=options.allow)
            print(report(findings, options.repair, options.show))
    return int(any(finding.is_error for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
