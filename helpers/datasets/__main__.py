"""Bring labeled images in, and take them out, in the formats of labeling tools.

    python -m helpers.datasets import cvat UNPACKED --out mine
    python -m helpers.datasets export coco mine --out for_coco

KIND is cvat, voc, coco, label-studio or binary; helpers/datasets/formats/ says what each looks
like, helpers/datasets/importers.py what becomes of overlaps and of pixels without a label.
"""

import argparse
import sys
from collections.abc import Sequence

from helpers.datasets.importers import KINDS, export_folder, import_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command: 0 if it went well, 1 after an error, which is one line on stderr."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """A subparser for each command; `run` is what it does."""
    made = argparse.ArgumentParser(
        prog="python -m helpers.datasets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("import", help="from a labeling tool's format to ours")
    command.set_defaults(
        run=lambda given: import_folder(given.kind, given.source, given.out, given.images)
    )
    _add_kind(command)
    command.add_argument("source", metavar="SOURCE", help="the unpacked export, or its JSON file")
    command.add_argument("--out", required=True, metavar="FOLDER", help="the new folder")
    command.add_argument("--images", metavar="FOLDER", help="the images, if not in SOURCE")

    command = commands.add_parser("export", help="from our format to a labeling tool's")
    command.set_defaults(run=lambda given: export_folder(given.folder, given.kind, given.out))
    _add_kind(command)
    command.add_argument("folder", metavar="MINE", help="with images/, masks/ and classes.csv")
    command.add_argument("--out", required=True, metavar="FOLDER", help="the new folder")
    return made


def _add_kind(command: argparse.ArgumentParser) -> None:
    command.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))


if __name__ == "__main__":
    sys.exit(main())
