from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope='session')
def demo_dir() -> Path:
    """The committed demo data set of one class."""
    return ROOT / 'demo' / 'data' / 'coupe'


@pytest.fixture(scope='session')
def demo_bundle() -> Path:
    """The committed model bundle of the demo data."""
    return ROOT / 'demo' / 'bundle' / 'coupe'
