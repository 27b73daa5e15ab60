"""There always is a whole bundle, and nothing else is ever overwritten."""

import errno
import os
import signal

import pytest

from pad_inspection import bundle, bundle_folders
from pad_inspection.bundle import BundleError, open_bundle
from pad_inspection.bundle_writing import check_target, writing_bundle


def write(path, model='part', during=lambda folder: None, extra=()):
    with writing_bundle(path, {'model_id': model}) as work:
        for name in (*bundle.REQUIRED_FILES, *extra):
            (work / name).write_text(f'content of {name}')
        during(work)
    return path


def model_of(path):
    return open_bundle(path).manifest['model_id']


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


def without_exchange(monkeypatch):
    """As on a file system that cannot exchange two folders in one step."""
    monkeypatch.setattr(bundle_folders, '_exchange', lambda first, second: False)


@pytest.fixture(params=['exchange', 'two renames'])
def file_system(request, monkeypatch):
    if request.param == 'two renames':
        without_exchange(monkeypatch)


def killed(action):
    """Run something in a child that SIGKILL ends."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kill_me(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures('file_system')
def test_a_second_write_replaces_the_first(tmp_path):
    write(tmp_path / 'b', extra=['old.txt'])
    opened = open_bundle(write(tmp_path / 'b', 'second'))
    assert opened.find('old.txt') is None and not (tmp_path / 'b' / 'old.txt').exists()
    assert model_of(tmp_path / 'b') == 'second'
    assert names_in(tmp_path) == ['b']


def test_a_failed_write_leaves_the_old_bundle(tmp_path):
    write(tmp_path / 'b')
    with pytest.raises(RuntimeError), writing_bundle(tmp_path / 'b', {}) as work:
        (work / 'gaussians.ply').write_text('half')
        raise RuntimeError
    assert open_bundle(tmp_path / 'b').file('gaussians.ply').read_text() != 'half'
    assert names_in(tmp_path) == ['b']


def test_a_full_disk_leaves_the_old_bundle(tmp_path, monkeypatch):
    write(tmp_path / 'b')

    def full(descriptor):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(bundle_folders.os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        write(tmp_path / 'b', 'second')
    assert model_of(tmp_path / 'b') == 'part' and names_in(tmp_path) == ['b']


def test_an_incomplete_write_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r'gaussians\.ply'):
        with writing_bundle(tmp_path / 'b', {}) as work:
            (work / 'features.npz').write_text('')
    assert not (tmp_path / 'b').exists()


def test_killed_while_it_is_written(tmp_path):
    write(tmp_path / 'b', 'first')
    killed(lambda: write(tmp_path / 'b', 'second', kill_me))
    assert model_of(tmp_path / 'b') == 'first'
    # the next one removes what the killed one left
    assert len(names_in(tmp_path)) == 2
    write(tmp_path / 'b', 'third')
    assert model_of(tmp_path / 'b') == 'third' and names_in(tmp_path) == ['b']


def test_killed_between_two_renames_the_old_bundle_is_found_again(tmp_path, monkeypatch):
    write(tmp_path / 'b', 'first')

    def kill_between():
        without_exchange(monkeypatch)
        rename = bundle_folders.Path.rename

        def rename_and_die(self, target):
            rename(self, target)
            kill_me()

        monkeypatch.setattr(bundle_folders.Path, 'rename', rename_and_die)
        write(tmp_path / 'b', 'second')

    killed(kill_between)
    assert not (tmp_path / 'b').exists()
    assert model_of(tmp_path / 'b') == 'first'
    assert names_in(tmp_path) == ['b']


@pytest.mark.usefixtures('file_system')
def test_of_two_builds_into_one_folder_the_later_one_wins(tmp_path):
    write(tmp_path / 'b', 'first')
    write(tmp_path / 'b', 'slow', lambda work: write(tmp_path / 'b', 'quick'))
    assert model_of(tmp_path / 'b') == 'slow' and names_in(tmp_path) == ['b']


@pytest.mark.usefixtures('file_system')
def test_a_link_is_followed(tmp_path):
    write(tmp_path / 'b')
    (tmp_path / 'current').symlink_to('b')
    write(tmp_path / 'current', 'second')
    assert (tmp_path / 'current').is_symlink()
    assert model_of(tmp_path / 'b') == model_of(tmp_path / 'current') == 'second'
    (tmp_path / 'new').symlink_to('made')
    write(tmp_path / 'new')
    assert model_of(tmp_path / 'made') == 'part'


def test_nothing_but_a_bundle_is_replaced(tmp_path):
    """A user's folders and files stay, also those that look like a bundle."""
    photos, web, file, mixed = (tmp_path / name for name in ('photos', 'web', 'file', 'mixed'))
    for folder in (photos, web):
        folder.mkdir()
        (folder / 'mine.jpg').write_text('precious')
    (web / 'manifest.json').write_text('{"name": "my app", "files": ["mine.jpg"]}')
    file.write_text('precious')
    write(mixed)
    (mixed / 'notes').mkdir()
    (mixed / 'notes' / 'mine.txt').write_text('precious')
    loop = tmp_path / 'loop'
    loop.symlink_to(loop)
    for path, message in (
        (photos, 'no model bundle'),
        (web, 'no model bundle'),
        (file, 'no folder'),
        (file / 'below', 'is a file'),
        (mixed, r'1 file\(s\) that are not of the bundle.*mine\.txt'),
        (loop, 'loop'),
    ):
        for refused in (check_target, write):
            with pytest.raises((BundleError, OSError), match=message):
                refused(path)
    assert (web / 'mine.jpg').read_text() == file.read_text() == 'precious'
    assert (mixed / 'notes' / 'mine.txt').exists() and (photos / 'mine.jpg').exists()


def test_what_may_be_replaced(tmp_path):
    (tmp_path / 'empty').mkdir()
    write(tmp_path / 'empty')
    # a damaged bundle is built again, and so is one of another format; signatures go
    (tmp_path / 'empty' / 'features.npz').unlink()
    (tmp_path / 'empty' / 'manifest.sig').write_text('of the old one')
    write(tmp_path / 'empty', 'second')
    assert model_of(tmp_path / 'empty') == 'second'
    assert not (tmp_path / 'empty' / 'manifest.sig').exists()


def test_a_file_that_comes_while_a_bundle_is_written_is_not_lost(tmp_path):
    write(tmp_path / 'b')

    def put(work):
        (tmp_path / 'b' / 'mine.txt').write_text('precious')

    with pytest.raises(BundleError, match=r'mine\.txt'):
        write(tmp_path / 'b', 'second', put)
    assert (tmp_path / 'b' / 'mine.txt').exists() and model_of(tmp_path / 'b') == 'part'


def test_folders_of_the_user_that_look_like_leftovers_stay(tmp_path):
    for name in ('.b.old', '.b-old-77', '.b.12345678.writing.txt', '.other.12345678.old'):
        (tmp_path / name).mkdir()
    before = names_in(tmp_path)
    write(tmp_path / 'b')
    assert names_in(tmp_path) == sorted([*before, 'b'])


def test_the_folder_of_a_build_that_still_runs_stays(tmp_path):
    with writing_bundle(tmp_path / 'b', {}) as work:
        write(tmp_path / 'b', 'other')
        assert work.is_dir()
        for name in bundle.REQUIRED_FILES:
            (work / name).write_text('')
    assert 'model_id' not in open_bundle(tmp_path / 'b').manifest
