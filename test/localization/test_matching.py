import numpy as np
import pytest
import torch

from helpers.stand_in_weights import lightglue_state
from pad_inspection.config import LocalizationConfig, from_dict
from pad_inspection.datatypes import LocalFeatures
from pad_inspection.localization.matching import MutualNeighbors, create_matcher, mutual_neighbors
from pad_inspection.networks.weights import find_weights


def unit(*rows):
    rows = np.array(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_mutual(first, second, least):
    cosine = first @ second.T
    return [
        (i, j)
        for i in range(len(first))
        for j in range(len(second))
        if cosine[i].argmax() == j and cosine[:, j].argmax() == i and cosine[i, j] > least
    ]


def test_matches_by_hand():
    first = unit([1, 0, 0], [0, 1, 0], [1, 1, 0])
    second = unit([0, 1, 0.1], [1, 0.1, 0])
    found = MutualNeighbors(0.8).match_descriptors(first, second)
    assert found.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize('least', [0.0, 0.3])
def test_matches_are_those_of_a_slow_search(least):
    rng = np.random.default_rng(1)
    first = unit(*rng.normal(size=(60, 8)))
    second = unit(*rng.normal(size=(40, 8)))
    found = MutualNeighbors(least).match_descriptors(first, second)
    assert [tuple(row) for row in found] == slow_mutual(first, second, least)


def test_the_ratio_test_drops_ambiguous_matches():
    first = unit([1, 0, 0], [0, 1, 0])
    second = unit([1, 0.10, 0], [1, 0.11, 0], [0, 1, 0])
    assert MutualNeighbors(0.0).match_descriptors(first, second).tolist() == [[0, 0], [1, 2]]
    assert MutualNeighbors(0.0, 0.8).match_descriptors(first, second).tolist() == [[1, 2]]


def test_nothing_matches_nothing():
    empty = np.zeros((0, 3), np.float32)
    assert MutualNeighbors(0.5).match_descriptors(empty, unit([1, 0, 0])).shape == (0, 2)


def test_the_configured_cosine_replaces_what_suits_the_features():
    assert mutual_neighbors(LocalizationConfig()).min_cosine == 0.82
    changed = from_dict(LocalizationConfig, {'min_cosine': 0.9})
    assert mutual_neighbors(changed).min_cosine == 0.9


def test_sift_has_no_learned_matcher():
    config = from_dict(LocalizationConfig, {'features': 'sift', 'matcher': 'lightglue'})
    with pytest.raises(ValueError, match=r"no LightGlue for 'sift'.*aliked"):
        create_matcher(config)


@pytest.mark.parametrize(('features', 'dimension'), [('xfeat', 64), ('aliked', 128)])
def test_lightglue_matches_a_picture_with_itself(features, dimension):
    rng = np.random.default_rng(0)
    config = from_dict(LocalizationConfig, {'features': features, 'matcher': 'lightglue'})
    keypoints = rng.uniform(20, 490, (80, 2))
    own = LocalFeatures(keypoints, unit(*rng.normal(size=(80, dimension))), np.ones(80))
    order = rng.permutation(80)
    other = LocalFeatures(keypoints[order], own.descriptors[order], np.ones(80))
    found = create_matcher(config).match(own, other)
    assert len(found) > 60
    assert (order[found[:, 1]] == found[:, 0]).mean() > 0.95


def superpoint_with(path):
    return LocalizationConfig(
        features='superpoint', matcher='lightglue', matcher_weights=str(path)
    )


def test_superpoint_s_lightglue_is_read_from_its_file(tmp_path):
    """The stand-in's layers do nothing, so that mutual neighbours are what it must find."""
    path = tmp_path / 'superpoint_lightglue.pth'
    torch.save(lightglue_state(gain=20.0), path)
    rng = np.random.default_rng(0)
    first = unit(*rng.normal(size=(60, 256)))
    second = unit(*(first[:40] + 0.02 * rng.normal(size=(40, 256))), *rng.normal(size=(9, 256)))
    one, two = (
        LocalFeatures(rng.uniform(20, 490, (len(d), 2)), d, np.ones(len(d)))
        for d in (first, second)
    )
    found = create_matcher(superpoint_with(path)).match(one, two)
    assert [tuple(row) for row in found] == [(i, i) for i in range(40)]


def test_superpoint_s_lightglue_needs_its_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'localization\.matcher_weights'):
        create_matcher(superpoint_with(''))
    with pytest.raises(FileNotFoundError, match=r'none\.pth .*does not exist.*matcher_weights'):
        create_matcher(superpoint_with(tmp_path / 'none.pth'))
    with pytest.raises(ValueError, match=r'is a folder, wanted the file superpoint_lightglue'):
        create_matcher(superpoint_with(tmp_path))


def test_other_files_than_superpoint_s_lightglue_are_refused(tmp_path):
    path = tmp_path / 'w.pth'
    path.write_bytes(b'junk')
    with pytest.raises(ValueError, match=r'w\.pth holds no weights of superpoint_lightglue'):
        create_matcher(superpoint_with(path))
    torch.save({'conv.weight': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r'no weights.*are missing.*conv\.weight'):
        create_matcher(superpoint_with(path))
    # the same network behind a projection of shorter descriptors
    with pytest.raises(ValueError, match=r"input_proj\.bias', 'input_proj\.weight'\] are left"):
        create_matcher(superpoint_with(find_weights('aliked_lightglue')))
    state = lightglue_state()
    torch.save({**state, 'self_attn.0.Wqkv.bias': torch.zeros(3)}, path)
    with pytest.raises(ValueError, match='size mismatch'):
        create_matcher(superpoint_with(path))
