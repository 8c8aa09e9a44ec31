"""The synthetic pets: 407 pairs that a program drew, shipped as one archive in the official layout.

The program is tests/benchmarks/drawing; `python tests/benchmarks/shipped.py archive` packs what it
draws, so that everybody has the same bytes, whatever the system and the version of the libraries.
"""

import hashlib
import zipfile
from pathlib import Path

from helpers.files import atomic, make_folder

ARCHIVE = Path(__file__).parent / "synthetic.zip"
MARKER = "SYNTHETIC.txt"  # a file in oxford-iiit-pet/ that says that these are no photographs


def synthetic_root(data: Path) -> Path:
    """Where in the folder `data` the synthetic pets are kept: another archive, another folder."""
    return data / f"synthetic-{hashlib.sha256(ARCHIVE.read_bytes()).hexdigest()[:8]}"


def extract(root: Path) -> None:
    """Unpack the archive to root/oxford-iiit-pet, whole or not at all; one that is there stays.

    Raises OSError for a folder that cannot be written or a full disk.
    """
    folder = root / "oxford-iiit-pet"
    if folder.is_dir():
        return

    make_folder(root)
    with atomic(folder) as partial, zipfile.ZipFile(ARCHIVE) as archive:
        # The archive's names begin with the folder's own name, which `partial` does not have yet.
        for member in archive.infolist():
            target = partial / Path(member.filename).relative_to("oxford-iiit-pet")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
