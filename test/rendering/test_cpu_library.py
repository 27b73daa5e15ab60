import sys
from pathlib import Path

import pytest

from pad_inspection.rendering import cpu_library

ROOT = Path(__file__).resolve().parents[2]


def test_unknown_variant_is_an_error(monkeypatch):
    monkeypatch.setenv('PAD_RASTERIZER', 'abacus')
    with pytest.raises(FileNotFoundError, match='abacus'):
        cpu_library.variant()


def test_missing_library_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu_library, '_FOLDER', tmp_path)
    cpu_library._chosen_variant.cache_clear()
    with pytest.raises(FileNotFoundError, match='build_rasterizer'):
        cpu_library.variant()
    cpu_library._chosen_variant.cache_clear()


def test_plain_processor_takes_the_baseline(monkeypatch):
    if 'baseline' not in cpu_library.available_variants():
        pytest.skip('not compiled')
    monkeypatch.setattr(cpu_library, '_processor_flags', lambda: frozenset({'sse4_1'}))
    assert cpu_library.available_variants() == ['baseline']


def test_libraries_are_up_to_date(monkeypatch, capsys):
    """The compiled libraries are those of the sources; compiling again does nothing."""
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import build_rasterizer

    compiler = build_rasterizer._compiler()
    for name, flags in build_rasterizer.variants().items():
        digest = build_rasterizer._digest(compiler, flags)
        if name in cpu_library.available_variants():
            loaded = cpu_library.load_library(name).pad_source_digest().decode()
            assert loaded == digest, 'run python tools/build_rasterizer.py'


def test_missing_compiler_is_told(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    import build_rasterizer

    monkeypatch.setenv('CXX', 'no-such-compiler')
    with pytest.raises(RuntimeError, match='no-such-compiler'):
        build_rasterizer.build()
    monkeypatch.setattr(sys, 'argv', ['build_rasterizer'])
    assert build_rasterizer.main() == 1
