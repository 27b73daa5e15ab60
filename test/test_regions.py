import numpy as np
import pytest

from pad_inspection import regions
from pad_inspection.config import ComparisonConfig
from pad_inspection.datatypes import Camera, Rigid3


def _alpha():
    alpha = np.zeros((100, 100), np.float32)
    alpha[30:70, 30:80] = 1.0
    return alpha


@pytest.mark.parametrize(
    ('region', 'inside', 'outside'),
    [
        ('silhouette', [(50, 50)], [(50, 85), (25, 25)]),
        ('union', [(50, 50), (50, 92)], [(25, 50), (50, 20)]),
        ('surroundings', [(50, 50), (25, 50), (50, 85)], [(50, 92), (10, 50)]),
        ('image', [(0, 0), (50, 50), (99, 99)], []),
    ],
)
def test_region(region, inside, outside):
    probability = np.zeros((100, 100), np.float32)
    probability[45:55, 60:95] = 1.0
    weight = regions.region_weight(_alpha(), probability, ComparisonConfig(region=region))
    assert weight.dtype == np.float32
    assert all(weight[place] > 0 for place in inside)
    assert all(weight[place] == 0 for place in outside)


def test_the_silhouettes_edge_counts_less():
    config = ComparisonConfig(region='surroundings', edge_weight=0.25)
    weight = regions.region_weight(_alpha(), None, config)
    assert weight[50, 50] == pytest.approx(1.0) and weight[50, 30] < 0.5
    full = ComparisonConfig(region='silhouette', edge_weight=1.0)
    np.testing.assert_array_equal(regions.region_weight(_alpha(), None, full), _alpha())


def test_surroundings_count_fully_where_an_object_is_seen():
    probability = np.zeros((100, 100), np.float32)
    probability[40:60, 60:90] = 1.0
    config = ComparisonConfig(edge_weight=1.0, unsegmented_weight=0.1)
    weight = regions.region_weight(_alpha(), probability, config)
    assert weight[50, 50] == weight[32, 32] == 1.0  # the silhouette, segmented or not
    assert weight[50, 85] == pytest.approx(1.0) and weight[25, 50] == pytest.approx(0.1)
    assert regions.region_weight(_alpha(), None, config)[25, 50] == 1.0


def test_surroundings_scale_with_the_object():
    silhouette = _alpha() > 0.5
    assert regions.surroundings_px(silhouette, 0.2) == 10
    assert regions.surroundings_px(np.zeros((5, 5), bool), 0.2) == 0


def test_hole_holds_everything_that_may_be_object():
    probability = np.zeros((100, 100), np.float32)
    probability[48:52, 80:98] = 1.0
    union = regions.hole_mask(_alpha(), probability, ComparisonConfig(region='union'), 3)
    assert union[50, 98] and union[28, 50] and not union[24, 50]
    around = regions.hole_mask(_alpha(), probability, ComparisonConfig(), 3)
    assert around[50, 98] and around[21, 50] and not around[18, 50]


def test_a_rail_that_runs_on_to_the_border_is_background_beyond_the_surroundings():
    probability = np.zeros((100, 100), np.float32)
    probability[48:52, 60:100] = 1.0  # from the piece to the border of the picture
    probability[10:14, 40:60] = 1.0  # ends in the picture
    around = regions.hole_mask(_alpha(), probability, ComparisonConfig(), 3)
    assert around[50, 80] and around[12, 50] and not around[50, 96]
    assert regions.hole_mask(_alpha(), probability, ComparisonConfig(region='union'), 3)[50, 96]


def test_find_regions():
    scores = np.full((60, 60), np.nan, np.float32)
    scores[10:50, 10:50] = 0.1
    scores[20:24, 30:36] = 2.0
    scores[22, 33] = 3.0
    scores[40:42, 12:20] = 5.0
    scores[12, 12] = 9.0  # too small
    camera = Camera(60, 60, np.array([[100.0, 0, 30], [0, 100, 30], [0, 0, 1]]))
    depth = np.full((60, 60), 0.5, np.float32)
    depth[40:42] = np.nan
    pose = Rigid3(np.eye(3), np.array([0.0, 0.0, 0.4]))
    found = regions.find_regions(scores, 1.0, 4, depth=depth, camera=camera, cam_from_object=pose)
    assert [r.bbox for r in found] == [(12, 40, 20, 42), (30, 20, 36, 24)]
    assert [r.area_px for r in found] == [16, 24]
    assert found[0].peak_in_object is None and found[0].mean_score == pytest.approx(5.0)
    # pixel (33.5, 22.5) at 0.5 m, the object frame 0.4 m before the camera
    expected = (3.5 / 100 * 0.5, -7.5 / 100 * 0.5, 0.1)
    np.testing.assert_allclose(found[1].peak_in_object, expected, atol=1e-6)
    assert regions.find_regions(scores, 100.0, 1) == ()
