import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A job in the background of a shell is started with Ctrl-C ignored, and its children inherit that;
# the tests of stopping send Ctrl-C to theirs.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope='session')
def demo_dir() -> Path:
    """The committed demo data set of one class."""
    return ROOT / 'demo' / 'data' / 'coupe'


@pytest.fixture(scope='session')
def demo_bundle() -> Path:
    """The committed model bundle of the demo data."""
    return ROOT / 'demo' / 'bundle' / 'coupe'
