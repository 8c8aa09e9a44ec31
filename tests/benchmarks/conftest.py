import sys

from helpers.losses import LOSSES

import pytest

if sys.platform == "win32":  # neither mutmut nor its alarms
    collect_ignore = ["test_mutants.py"]


@pytest.fixture(scope="package", autouse=True)
def own_home(tmp_path_factory):
    """Caches and runs of these tests stay out of the clone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNET_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def own_losses():
    """Losses that a script adds do not stay."""
    known = dict(LOSSES)
    yield
    LOSSES.clear()
    LOSSES.update(known)
