"""`pad inspect`: what it reads and writes, with the small inspector of the tests."""

import json
import resource
from contextlib import contextmanager

import numpy as np
import pytest

from helpers.small_dataset import SIZE, picture
from helpers.small_inspector import SmallInspector, write_bundle
from pad_inspection import cli, images
from pad_inspection.offline import inspect_images


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Words of `pad inspect` for two pictures; the folder for results."""
    inspector = SmallInspector.from_bundle(write_bundle(tmp_path / 'bundle'))
    monkeypatch.setattr(inspect_images, 'load_inspector', lambda *_: inspector)
    camera = tmp_path / 'camera.json'
    K = [[90, 0, SIZE / 2], [0, 90, SIZE / 2], [0, 0, 1]]
    camera.write_text(json.dumps({'width': SIZE, 'height': SIZE, 'K': K}))
    paths = [tmp_path / 'a.png', tmp_path / 'b\x1b[2J.png']
    for path, defect in zip(paths, (False, True)):
        images.write(path, picture(defect))
    out = tmp_path / 'out'
    words = ['inspect', tmp_path / 'bundle', *paths, '--camera', camera, '--out', out]
    return [str(word) for word in words], out


@contextmanager
def full_disk(size):
    """Meanwhile no file can be written that is longer than so many bytes, pytest's log either."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_every_picture_gets_a_result(command, capsys):
    words, out = command
    assert cli.main(words) == 0
    rows = [json.loads(line) for line in (out / 'results.jsonl').read_text().splitlines()]
    assert [row['verdict'] for row in rows] == ['PASS', 'REJECT']
    assert rows[1]['image'] == words[3]
    assert np.load(out / 'a_map.npy').shape == (SIZE, SIZE)
    shown = capsys.readouterr().out
    assert r'b\x1b[2J.png' in shown and '\x1b' not in shown


def test_a_full_disk_is_one_line_and_nothing_is_cut(command, capsys):
    words, out = command
    with full_disk(500):
        assert cli.main(words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('pad: error: ') and 'cannot write' in error and str(out) in error
    assert list(out.iterdir()) == []


def test_a_disk_that_fills_up_keeps_what_is_whole(command, capsys):
    words, out = command
    with full_disk(SIZE * SIZE * 4):  # a map has a header too
        assert cli.main(words) == 2
    assert 'a_map.npy' in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in out.iterdir()] == ['a_overlay.png']
    assert images.read_rgb(out / 'a_overlay.png').shape == (SIZE, SIZE, 3)


def test_a_folder_that_cannot_be_made_is_one_line(command, capsys):
    words, out = command
    out.write_text('a file')
    assert cli.main(words) == 2
    assert capsys.readouterr().err.count('\n') == 1 and out.read_text() == 'a file'


def test_sizes_are_compared_before_the_model_is_loaded(command, capsys, monkeypatch):
    words, out = command
    monkeypatch.setattr(inspect_images, 'load_inspector', lambda *_: pytest.fail('loaded'))
    images.write(words[3], np.zeros((5, 7, 3), np.uint8))
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert f'has 7x5 px, {words[5]} describes {SIZE}x{SIZE} px' in error
    assert error.count('\n') == 1 and not out.exists()
