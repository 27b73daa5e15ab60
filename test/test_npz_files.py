import io
import zipfile

import numpy as np
import pytest

from pad_inspection.npz_files import read_npz

ARRAYS = {
    'numbers': np.arange(6, dtype=np.float32).reshape(2, 3),
    'columns': np.asfortranarray(np.arange(6).reshape(2, 3)),
    'names': np.array(['a', 'bcd']),
    'one': np.int64(7),
    'none': np.zeros((0, 4), np.uint8),
}


def raw_entry(path, header, content=b'', name='a.npy'):
    """A file of one array with any header."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, stream.getvalue() + content)


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(tmp_path, save):
    save(tmp_path / 'a.npz', **ARRAYS)
    found = read_npz(tmp_path / 'a.npz')
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype
        assert found[name].flags.writeable


def test_a_file_that_unpacks_to_too_much_is_refused_before(tmp_path):
    path = tmp_path / 'a.npz'
    np.savez_compressed(path, zeros=np.zeros(3_000_000, np.uint8))
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match='3000128 bytes, wanted'):
        read_npz(path, 1_000_000)
    np.savez(path, **{str(i): np.zeros(1) for i in range(100)})
    with pytest.raises(ValueError, match='100 arrays'):
        read_npz(path)


@pytest.mark.parametrize('rows', [10**12, 10**30, -1])
def test_a_header_that_tells_of_other_sizes_is_refused(tmp_path, rows):
    header = {'descr': '<f2', 'fortran_order': False, 'shape': (rows, 64)}
    raw_entry(tmp_path / 'a.npz', header, b'\0' * 256)
    with pytest.raises(ValueError, match='header'):
        read_npz(tmp_path / 'a.npz')


def test_python_objects_are_refused(tmp_path):
    np.savez(tmp_path / 'a.npz', a=np.array([{}], object))
    with pytest.raises(ValueError, match='Python objects'):
        read_npz(tmp_path / 'a.npz')


def test_damaged_files_are_value_errors(tmp_path):
    path = tmp_path / 'a.npz'
    np.savez_compressed(path, **ARRAYS)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in rng.integers(0, len(content), 30):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError):
            read_npz(path)
    for place in rng.integers(0, len(content), 100):
        damaged = bytearray(content)
        damaged[place] ^= 255
        path.write_bytes(damaged)
        try:
            read_npz(path)
        except ValueError:
            continue
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a.npy', b'no array')
    with pytest.raises(ValueError):
        read_npz(path)
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / 'nothing.npz')
