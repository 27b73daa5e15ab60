"""The whole way with every part real: pictures -> bundle -> inspection -> evaluation."""

import json
import math

import numpy as np
import pytest

from pad_inspection import cli, images
from pad_inspection.config import BuildConfig, from_dict
from pad_inspection.dataset import read_test_images
from pad_inspection.datatypes import Camera, Frame, PoseStatus, Reason, Verdict
from pad_inspection.geometry import pose_error_px
from pad_inspection.pipeline import Inspector

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def small_bundle(demo_dir, tmp_path_factory):
    """A bundle built with few iterations."""
    from pad_inspection.offline.build import build_bundle

    config = from_dict(
        BuildConfig,
        {
            'fit': {
                'iterations': 300,
                'holdout_every': 16,
                'max_gaussians': 8000,
                'sh_degree': 1,
            },
            'calibration': {'backgrounds_per_view': 1},
            # one pass of the segmentation instead of two
            'inspection': {'segmentation': {'input_px': 768, 'second_input_px': 0}},
        },
    )
    return build_bundle(demo_dir, tmp_path_factory.mktemp('bundle') / 'coupe', config)


@pytest.fixture(scope='module')
def inspector(demo_bundle):
    return Inspector.from_bundle(demo_bundle)


@pytest.fixture(scope='module')
def test_images(demo_dir):
    return read_test_images(demo_dir)


def test_build_gives_a_model_that_localises_and_scores(small_bundle, test_images):
    inspector = Inspector.from_bundle(small_bundle)
    assert inspector.info.num_gaussians > 1000
    assert inspector.info.num_points3d > 300
    assert math.isfinite(inspector.info.anomaly_threshold)
    calibration = inspector.calibration
    assert 0 < calibration.joined_pixel_threshold < 1.2 * calibration.pixel_threshold
    assert 0 < calibration.joined_image_threshold < 1.2 * calibration.image_threshold
    test = test_images[0]
    inspection = inspector.inspect(Frame(test.load_image(), test.camera))
    assert inspection.pose.status == PoseStatus.LOCALIZED, inspection.message
    error = pose_error_px(
        test.camera,
        inspection.pose.cam_from_object,
        test.cam_from_object,
        inspector.object_points(),
    )
    assert error < 3.0


def test_good_and_defective_views_are_told_apart(inspector, test_images):
    scores = {True: [], False: []}
    for test in test_images:
        defective = test.defect != 'good'
        if (test.view != 0 and not defective) or (defective and not test.visible):
            continue
        if len(scores[defective]) >= 4:
            continue
        inspection = inspector.inspect(Frame(test.load_image(), test.camera))
        assert inspection.verdict != Verdict.UNDETERMINED, inspection.message
        # each view sees some of the places, and none all of them
        assert 0.1 < np.isfinite(inspection.surface).mean() < 0.9
        scores[defective].append(inspection.score / inspection.threshold)
    assert np.median(scores[True]) > 1.0 > np.median(scores[False])


def test_an_inspection_is_complete_and_repeats(inspector, test_images):
    test = next(t for t in test_images if t.defect == 'added' and t.visible)
    frame = Frame(test.load_image(), test.camera, 7, 'left', 'piece 1')
    first, second = inspector.inspect(frame), inspector.inspect(frame)
    assert first.anomaly_map.shape == test.load_mask().shape
    assert first.reference.shape == frame.image.shape
    assert (first.camera_name, first.object_id, first.stamp_ns) == ('left', 'piece 1', 7)
    assert list(first.timings_ms)[:3] == ['rectify', 'segment', 'localize']
    np.testing.assert_array_equal(first.anomaly_map, second.anomaly_map)
    assert first.score == second.score


@pytest.mark.parametrize(
    'picture',
    [
        np.zeros((400, 400, 3), np.uint8),
        np.full((400, 400, 3), 255, np.uint8),
        np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8),
    ],
    ids=['black', 'white', 'noise'],
)
def test_a_picture_without_the_object_is_not_localised(inspector, test_images, picture):
    inspection = inspector.inspect(Frame(picture, test_images[0].camera))
    assert inspection.verdict == Verdict.UNDETERMINED
    assert inspection.reason == Reason.NOT_LOCALIZED
    assert inspection.message
    assert inspection.pose.cam_from_object is None


def test_the_belt_without_the_object_is_not_localised(inspector, test_images):
    import cv2

    test = test_images[0]
    empty = images.read_rgb(test.path)
    # the corner of the belt, enlarged: clutter as real as the pictures themselves
    corner = cv2.resize(empty[-90:, :90], (400, 400), interpolation=cv2.INTER_CUBIC)
    inspection = inspector.inspect(Frame(corner, test.camera))
    assert inspection.verdict == Verdict.UNDETERMINED
    assert inspection.reason == Reason.NOT_LOCALIZED


def test_a_distorted_camera_gives_the_same_verdict_data(inspector, test_images):
    test = next(t for t in test_images if t.defect == 'good')
    camera = Camera(
        test.camera.width, test.camera.height, test.camera.K, [-0.02, 0.0, 0.0, 0.0, 0.0]
    )
    inspection = inspector.inspect(Frame(test.load_image(), camera))
    assert inspection.query.shape == (400, 400, 3)
    assert inspection.verdict in Verdict


def test_pad_inspect_writes_what_its_help_says(demo_bundle, demo_dir, test_images, tmp_path):
    chosen = [t.path for t in test_images[:2]]
    argv = ['inspect', demo_bundle, *chosen, '--camera', demo_dir / 'test.json', '--out', tmp_path]
    assert cli.main([str(word) for word in argv]) == 0
    rows = [json.loads(line) for line in (tmp_path / 'results.jsonl').read_text().splitlines()]
    assert [row['image'] for row in rows] == [str(path) for path in chosen]
    keys = {'image', 'verdict', 'reason', 'score', 'threshold', 'pose', 'regions', 'timings'}
    assert keys <= set(rows[0])
    for path in chosen:
        assert images.read_rgb(tmp_path / f'{path.stem}_overlay.png').ndim == 3
        assert images.read_rgb(tmp_path / f'{path.stem}_reference.png').shape == (400, 400, 3)
        assert np.load(tmp_path / f'{path.stem}_map.npy').shape == (400, 400)


def test_pad_inspect_judges_a_piece_from_all_its_pictures(
    demo_bundle, demo_dir, test_images, tmp_path, capsys
):
    views = [t for t in test_images if t.defect == 'added']
    views = [t.path for t in views if t.object_id == views[0].object_id][:2]
    argv = ['inspect', demo_bundle, *views, '--camera', demo_dir / 'test.json', '--out', tmp_path]
    assert cli.main([*(str(word) for word in argv), '--piece']) == 0
    piece = json.loads((tmp_path / 'piece.json').read_text())
    assert piece['verdict'] == 'REJECT' and piece['reject'] and piece['num_views'] == len(views)
    assert piece['score'] >= piece['threshold']
    assert 'the piece: REJECT' in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / 'results.jsonl').read_text().splitlines()]
    assert all(row['joined_score'] > 0 for row in rows)


def test_pad_evaluate_reports_every_promised_number(demo_bundle, demo_dir, tmp_path):
    argv = ['evaluate', demo_bundle, demo_dir, '--out', tmp_path, '--limit', '4']
    assert cli.main([str(word) for word in argv]) == 0
    report = json.loads((tmp_path / 'report.json').read_text())
    for key in (
        'class', 'preset', 'images', 'image_auroc', 'pixel_auroc', 'aupro', 'f1_max_pixel',
        'object_auroc', 'localized_fraction', 'median_seconds_per_image', 'pose_median_px',
        'pose_fraction_below_1px', 'pose_silent_failures',
    ):  # fmt: skip
        assert key in report
        assert report[key] is not None or key in report['undefined']
    assert len((tmp_path / 'scores.csv').read_text().splitlines()) == 5
    assert '<html' in (tmp_path / 'report.html').read_text()


@pytest.mark.parametrize('preset', ['paper', 'splatpose_plus'])
def test_presets_give_scores_without_verdicts(demo_bundle, demo_dir, tmp_path, preset):
    argv = ['evaluate', demo_bundle, demo_dir, '--out', tmp_path, '--limit', '1']
    assert cli.main([*(str(word) for word in argv), '--preset', preset]) == 0
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['preset'] == preset
    assert report['verdicts'] is None
    assert 'image_auroc' in report['undefined']


def test_pad_inspect_says_what_is_wrong_with_a_picture(demo_bundle, demo_dir, tmp_path, capsys):
    small = tmp_path / 'small.png'
    images.write(small, np.zeros((10, 20, 3), np.uint8))
    argv = ['inspect', demo_bundle, small, '--camera', demo_dir / 'test.json', '--out', tmp_path]
    assert cli.main([str(word) for word in argv]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert '20x10' in error and '400x400' in error
    small.write_bytes(b'')
    assert cli.main([str(word) for word in argv]) == 2
    assert 'not a readable picture' in capsys.readouterr().err


def test_changed_scoring_options_never_use_the_old_thresholds(demo_bundle, test_images):
    from pad_inspection.bundle_config import bundle_config
    from pad_inspection.config import InspectionConfig

    config = from_dict(
        InspectionConfig, {'comparison': {'blur_sigma_px': 7.0}}, bundle_config(demo_bundle)
    )
    inspector = Inspector.from_bundle(demo_bundle, config)
    test = test_images[0]
    inspection = inspector.inspect(Frame(test.load_image(), test.camera))
    assert inspection.verdict == Verdict.UNDETERMINED
    assert math.isfinite(inspection.score)


def test_pictures_of_the_line_set_limits_of_their_own(demo_bundle, demo_dir, tmp_path, capsys):
    pictures = sorted((demo_dir / 'validation/good').glob('*.png'))[:4]
    arguments = ['calibrate', str(demo_bundle), *map(str, pictures), '--only-line']
    arguments += ['--camera', str(demo_dir / 'validation.json'), '--out', str(tmp_path / 'line')]
    assert cli.main(arguments) == 0
    assert '4 normal views' in capsys.readouterr().out
    before = Inspector.from_bundle(demo_bundle).calibration
    after = Inspector.from_bundle(tmp_path / 'line').calibration
    assert after.sources == {'line': 4, 'line_not_usable': 0}
    assert after.image_threshold == pytest.approx(max(after.normal_scores))
    assert after.image_threshold < before.image_threshold
    # limits of joined maps follow those of single ones
    for joined, alone in (
        ('joined_image_threshold', 'image_threshold'),
        ('joined_pixel_threshold', 'pixel_threshold'),
    ):
        first = getattr(before, joined) / getattr(before, alone)
        assert getattr(after, joined) / getattr(after, alone) == pytest.approx(first)
    assert 0 < after.surface_threshold < before.surface_threshold
