import dataclasses

import numpy as np
import pytest

from helpers.splats import random_gaussians
from pad_inspection.rendering.gaussians import read_ply, write_ply


@pytest.mark.parametrize('degree', [0, 1, 2, 3])
def test_round_trip(tmp_path, degree):
    gaussians = random_gaussians(17, degree)
    write_ply(tmp_path / 'm.ply', gaussians)
    read = read_ply(tmp_path / 'm.ply')
    assert read.sh_degree == degree
    for name in ('means', 'quats', 'scales', 'opacities', 'sh'):
        assert np.allclose(getattr(read, name), getattr(gaussians, name), rtol=1e-5, atol=1e-6)


def test_layout_is_the_one_of_other_programs(tmp_path):
    gaussians = random_gaussians(5, 1)
    write_ply(tmp_path / 'm.ply', gaussians)
    header, _, body = (tmp_path / 'm.ply').read_bytes().partition(b'end_header\n')
    names = [line.split()[2] for line in header.decode().splitlines() if 'property' in line]
    assert names[:9] == 'x y z nx ny nz f_dc_0 f_dc_1 f_dc_2'.split()
    assert names[-8:] == 'opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3'.split()
    row = dict(zip(names, np.frombuffer(body, '<f4').reshape(5, -1)[2]))
    # channel-major: the second coefficient of green comes after the three of red
    assert row['f_rest_4'] == gaussians.sh[2, 2, 1]
    assert row['scale_1'] == pytest.approx(np.log(gaussians.scales[2, 1]), rel=1e-6)
    opacity = gaussians.opacities[2]
    assert row['opacity'] == pytest.approx(np.log(opacity / (1 - opacity)), rel=1e-5)
    assert row['rot_0'] == gaussians.quats[2, 0]


def test_opacities_of_zero_and_one_stay_finite(tmp_path):
    gaussians = dataclasses.replace(random_gaussians(2), opacities=np.array([0.0, 1.0]))
    write_ply(tmp_path / 'm.ply', gaussians)
    assert np.allclose(read_ply(tmp_path / 'm.ply').opacities, [0, 1], atol=1e-5)


def edited(tmp_path, old: bytes, new: bytes):
    path = tmp_path / 'm.ply'
    write_ply(path, random_gaussians(3))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize(
    'old, new, message',
    [
        (b'ply\n', b'obj\n', 'not a PLY'),
        (b'binary_little_endian', b'ascii', 'binary little endian'),
        (b'element vertex', b'element face', 'begin with vertices'),
        (b'element vertex 3', b'element vertex 9', 'cut short'),
        (b'element vertex 3', b'element vertex ' + b'9' * 30, 'begin with vertices'),
        (b'element vertex 3', b'element vertex', 'begin with vertices'),
        (b'float y', b'float x', 'a property twice'),
        (b'float opacity', b'float density', 'lacks opacity'),
        (b'float f_rest_44', b'float surplus', '44 f_rest'),
        (b'property float x', b'property list x', 'property'),
    ],
)
def test_bad_files_are_told(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=message):
        read_ply(edited(tmp_path, old, new))


def test_nan_is_told(tmp_path):
    gaussians = random_gaussians(4)
    gaussians.means[1, 2] = np.nan
    write_ply(tmp_path / 'm.ply', gaussians)
    with pytest.raises(ValueError, match='NaN or infinity in 1 of 4'):
        read_ply(tmp_path / 'm.ply')


def test_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_ply(tmp_path / 'none.ply')


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('scales', np.float32(3e38), 'larger or farther'),
        ('scales', np.float32(2000), 'larger or farther'),
        ('means', np.float32(-1e6), 'larger or farther'),
        ('sh', np.float32(1e9), 'colour coefficient'),
    ],
)
def test_what_no_product_has_is_told(tmp_path, name, value, message):
    gaussians = random_gaussians(4)
    getattr(gaussians, name)[1] = value
    write_ply(tmp_path / 'm.ply', gaussians)
    with pytest.raises(ValueError, match=message):
        read_ply(tmp_path / 'm.ply')


def test_a_scale_whose_exponential_is_infinite_is_told(tmp_path):
    path = tmp_path / 'm.ply'
    write_ply(path, random_gaussians(3, 0))
    head, mark, body = path.read_bytes().partition(b'end_header\n')
    vertices = np.frombuffer(body, '<f4').reshape(3, -1).copy()
    vertices[1, 10] = 200
    path.write_bytes(head + mark + vertices.tobytes())
    with pytest.raises(ValueError, match='larger or farther'):
        read_ply(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / 'm.ply', 'wb') as stream:
        stream.truncate((1 << 30) + 1)
    with pytest.raises(ValueError, match='wanted up to 1073741824'):
        read_ply(tmp_path / 'm.ply')
