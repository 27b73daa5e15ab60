import io
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest

from helpers.small_map import small_map
from pad_inspection.localization.reference import NO_POINT, ReferenceModel


@pytest.fixture(scope='module')
def reference():
    return small_map()[0].reference


def test_round_trip(reference, tmp_path):
    reference.save(tmp_path / 'features.npz')
    loaded = ReferenceModel.load(tmp_path / 'features.npz')
    for field in fields(ReferenceModel):
        before, after = getattr(reference, field.name), getattr(loaded, field.name)
        assert type(before) is type(after)
        np.testing.assert_array_equal(before, after)


def test_saving_twice_gives_the_same_bytes(reference, tmp_path):
    for name in 'ab':
        reference.save(tmp_path / name)
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_views_are_what_was_mapped(reference):
    assert len(reference) == 40
    features = reference.local_features(3)
    assert len(features.keypoints) == reference.counts[3] == len(reference.points_of(3))
    np.testing.assert_allclose(np.linalg.norm(features.descriptors, axis=1), 1, atol=2e-3)
    assert reference.camera(3).width == 400
    np.testing.assert_allclose(np.linalg.norm(reference.directions, axis=1), 1)


def test_without_drops_views_and_keeps_the_rest(reference):
    dropped = {reference.names[0], reference.names[5]}
    fewer = reference.without(dropped)
    assert len(fewer) == 38
    assert not dropped & set(fewer.names)
    assert fewer.num_points3d == reference.num_points3d
    row = fewer.names.index(reference.names[6])
    np.testing.assert_array_equal(
        fewer.local_features(row).keypoints, reference.local_features(6).keypoints
    )
    np.testing.assert_array_equal(fewer.points_of(row), reference.points_of(6))
    with pytest.raises(ValueError, match='none of the 40'):
        reference.without(set(reference.names))


def test_wrong_arrays_are_refused(reference):
    with pytest.raises(ValueError, match=r'poses has shape \(39, 3, 4\), wanted \(40, 3, 4\)'):
        replace(reference, poses=reference.poses[1:])
    with pytest.raises(ValueError, match='names a point that there is not'):
        replace(reference, points=reference.points[:10])
    with pytest.raises(ValueError, match='points holds NaN'):
        replace(reference, points=np.full_like(reference.points, np.nan))
    for size in (0, 10**6):
        with pytest.raises(ValueError, match='a view is empty or has over'):
            replace(reference, image_sizes=np.full_like(reference.image_sizes, size))
    assert NO_POINT == -1


def test_global_descriptors_are_optional_and_follow_their_views(reference, tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 7)).astype(np.float16)
    described = replace(reference, global_descriptors=rows)
    path = tmp_path / 'features.npz'
    described.save(path)
    np.testing.assert_array_equal(ReferenceModel.load(path).global_descriptors, rows)
    fewer = described.without({reference.names[0], reference.names[5]})
    np.testing.assert_array_equal(fewer.global_descriptors, np.delete(rows, [0, 5], axis=0))
    reference.save(path)
    with np.load(path) as file:
        assert 'global_descriptors' not in file
    assert ReferenceModel.load(path).global_descriptors is None


@pytest.mark.parametrize('wrong', [np.ones((39, 7)), np.ones(40), np.full((40, 7), np.nan)])
def test_wrong_global_descriptors_are_refused(reference, wrong):
    with pytest.raises(ValueError, match='reference model: global_descriptors'):
        replace(reference, global_descriptors=wrong)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.npz'):
        ReferenceModel.load(tmp_path / 'nothing.npz')


@pytest.mark.parametrize('damage', ['empty', 'short', 'flipped', 'text', 'pickle', 'incomplete'])
def test_a_damaged_file_is_refused_by_name(reference, tmp_path, damage):
    path = tmp_path / 'features.npz'
    reference.save(path)
    data = bytearray(path.read_bytes())
    if damage == 'empty':
        data = b''
    elif damage == 'short':
        data = data[: len(data) // 2]
    elif damage == 'flipped':
        data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    elif damage == 'text':
        data = b'not an archive'
    path.write_bytes(data)
    if damage == 'pickle':
        np.savez(path, format=np.array([{'a': 1}], dtype=object))
    elif damage == 'incomplete':
        np.savez(path, format=1)
    with pytest.raises(ValueError, match=r'features\.npz holds no reference model'):
        ReferenceModel.load(path)


def test_a_file_that_unpacks_to_too_much_is_refused(reference, tmp_path):
    path = tmp_path / 'features.npz'
    reference.save(path)
    content = io.BytesIO()
    header = {'descr': '<f2', 'fortran_order': False, 'shape': (10**12, 64)}
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in {**entries, 'descriptors.npy': content.getvalue()}.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=r'features\.npz.*descriptors\.npy has 128 bytes'):
        ReferenceModel.load(path)


def test_another_format_is_refused(reference, tmp_path):
    reference.save(tmp_path / 'a.npz')
    with np.load(tmp_path / 'a.npz') as file:
        values = dict(file) | {'format': 2}
    np.savez(tmp_path / 'b.npz', **values)
    with pytest.raises(ValueError, match=r'b\.npz.*format 2, wanted 1'):
        ReferenceModel.load(tmp_path / 'b.npz')
