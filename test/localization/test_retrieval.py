from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.small_map import DEMO, small_map
from helpers.stand_in_weights import clustered, netvlad_layers, write_netvlad
from pad_inspection.config import LocalizationConfig, MappingConfig, from_dict
from pad_inspection.dataset import read_training_views
from pad_inspection.datatypes import LocalFeatures
from pad_inspection.geometry import pose_error_px
from pad_inspection.localization import crops
from pad_inspection.localization.localizer import Localizer
from pad_inspection.localization.reference import NO_POINT
from pad_inspection.localization.retrieval import (
    VoteRetrieval,
    best_views,
    create_retrieval,
)
from pad_inspection.networks.netvlad import NetVlad
from pad_inspection.offline.build_model import map_views


@pytest.fixture(scope='module')
def reference():
    return small_map()[0].reference


def test_a_view_votes_for_itself(reference):
    retrieval = VoteRetrieval(reference, 100, 0.82)
    for view in (0, 11, 39):
        votes = retrieval.votes(reference.local_features(view))
        assert votes.shape == (40,)
        assert votes.argmax() == view


def test_votes_are_those_of_a_slow_count(reference):
    known = np.flatnonzero(reference.points_of(5) != NO_POINT)
    features = reference.local_features(5)
    rows = known[np.argsort(-features.scores[known], kind='stable')][:50]
    query = reference.local_features(6)
    cosine = query.descriptors[:50] @ features.descriptors[rows].T
    slow = sum(
        cosine[:, j].argmax() == i and cosine[i, j] > 0.82
        for i, j in enumerate(cosine.argmax(axis=1))
    )
    assert VoteRetrieval(reference, 50, 0.82).votes(query)[5] == slow


def test_a_query_without_features_gets_no_votes(reference):
    empty = LocalFeatures(np.zeros((0, 2)), np.zeros((0, 64)), np.zeros(0))
    retrieval = VoteRetrieval(reference, 50, 0.82)
    assert not retrieval.votes(empty).any()
    assert retrieval.retrieve([None, None], [empty, empty], 5) == []


def test_votes_rank_turns_and_views(reference):
    retrieval = VoteRetrieval(reference, 100, 0.82)
    features = [reference.local_features(view) for view in (3, 8)]
    found = retrieval.retrieve([None, None], features, 5)
    assert (found[0].turn, found[0].view) == (1, 8)
    for item in found:
        assert item.score == retrieval.votes(features[item.turn])[item.view]


def test_best_views_are_sorted():
    found = best_views(np.array([[1, 0, 7], [-1, 9, 0]]), 3)
    assert [(f.turn, f.view, f.score) for f in found] == [(1, 1, 9), (0, 2, 7), (0, 0, 1)]


@pytest.fixture(scope='module')
def netvlad(views, tmp_path_factory):
    """Options with random weights of NetVLAD, narrow but of the published layout.

    Only the clusters are those of pictures, as they are before the network is trained.
    """
    path = tmp_path_factory.mktemp('weights') / 'VGG16-NetVLAD-Pitts30K.mat'
    layers = netvlad_layers(width=16, clusters=8, size=64, seed=1)
    model = NetVlad(write_netvlad(path, layers))._model
    pictures = np.stack([turned_crops(view, 224)[0].picture for view in views[:2]])
    dense = model.dense(torch.from_numpy(pictures).permute(0, 3, 1, 2).float())
    local = dense.permute(0, 2, 3, 1).flatten(0, 2).detach().numpy()
    write_netvlad(path, clustered(layers, local))
    return LocalizationConfig(retrieval='netvlad', retrieval_weights=str(path))


@pytest.fixture(scope='module')
def views():
    return read_training_views(DEMO)[:8]


@pytest.fixture(scope='module')
def described(netvlad, views, tmp_path_factory):
    """A map of a few views with descriptors."""
    config = from_dict(MappingConfig, {'min_points': 1, 'min_mean_track': 1.0})
    return map_views(views, config, netvlad, tmp_path_factory.mktemp('map')).reference


def turned_crops(view, size_px, moved_px=0.0):
    """Four turned crops of a training view, moved a little."""
    image, alpha = view.load()
    x, y, side = crops.square_around(alpha > 0.5)
    square = (x + moved_px, y - moved_px, side)
    frames = [crops.frame_of(square, size_px, 90.0 * turn) for turn in range(4)]
    return [crops.cut(image, None, frame) for frame in frames]


def test_mapping_describes_the_views(described):
    assert described.global_descriptors.shape == (8, 64)
    lengths = np.linalg.norm(described.global_descriptors.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)


@pytest.mark.parametrize('view', [0, 3, 6])
def test_descriptors_find_a_moved_view_and_its_turn(described, netvlad, views, view):
    retrieval = create_retrieval(described, netvlad)
    found = retrieval.retrieve(turned_crops(views[view], described.crop_px, 2.0), [], 32)
    assert len(found) == 32
    assert (found[0].turn, found[0].view) == (0, view)
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.9


def test_a_picture_is_localised_through_its_descriptor(described, netvlad, views):
    view = views[2]
    image, alpha = view.load()
    localizer = Localizer(described, replace(netvlad, num_retrieved=1))
    (best, *_) = localizer.localize(image, alpha, view.camera)
    found = best.cam_from_object
    assert pose_error_px(view.camera, found, view.cam_from_object, described.points) < 2.0


def test_a_model_without_descriptors_says_to_build_it_again(reference, netvlad):
    with pytest.raises(ValueError, match=r"retrieval = 'votes': build it again.*or set"):
        Localizer(reference, netvlad)


def test_descriptors_of_another_network_are_refused(described, netvlad, views, tmp_path):
    path = write_netvlad(tmp_path / 'other.mat', netvlad_layers(size=12))
    retrieval = create_retrieval(described, replace(netvlad, retrieval_weights=str(path)))
    with pytest.raises(ValueError, match=r'give 12 numbers.*others that give 64'):
        retrieval.retrieve(turned_crops(views[0], 512), [], 1)


def test_netvlad_needs_its_file(netvlad, views, tmp_path):
    for path, said in (('', 'localization.retrieval_weights'), ('none.mat', 'does not exist')):
        config = replace(netvlad, retrieval_weights=path)
        with pytest.raises(FileNotFoundError, match=said):
            map_views(views, MappingConfig(), config, tmp_path)
