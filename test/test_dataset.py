"""Readers and writers of the dataset folder, against values set by hand."""

import json
import struct

import numpy as np
import pytest

from pad_inspection import dataset, geometry, images
from pad_inspection.datatypes import Camera

SIZE = 8


def rgba(color, alpha):
    picture = np.zeros((SIZE, SIZE, 4), np.uint8)
    picture[..., :3] = color
    picture[..., 3] = alpha
    return picture


@pytest.fixture
def camera():
    return Camera(SIZE, SIZE, [[10.0, 0, 4], [0, 10.0, 4], [0, 0, 1]])


@pytest.fixture
def class_dir(tmp_path, camera):
    """A class with two training views, one good and one defective test image, one mask."""
    root = tmp_path / 'coupe'
    for folder in (
        'train/good',
        'test/good',
        'test/added',
        'ground_truth/added',
        'validation/good',
    ):
        (root / folder).mkdir(parents=True)
    pose = geometry.look_at([0.2, -0.1, 0.1], np.zeros(3))
    views = []
    for index in range(2):
        path = root / f'train/good/{index:03d}.png'
        images.write(path, rgba((200, 0, 0), 128 * index))
        views.append(dataset.TrainingView(path.stem, path, camera, pose))
    dataset.write_transforms(root, views)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[2:4, 2:4] = 255
    images.write(root / 'ground_truth/added/01_0.png', mask)
    for name in ('test/good/00_0', 'test/added/01_0', 'validation/good/00_0'):
        images.write(root / f'{name}.png', np.full((SIZE, SIZE, 3), 40, np.uint8))
    tests = [
        dataset.TestImage(
            'test/good/00_0',
            root / 'test/good/00_0.png',
            camera,
            '00',
            0,
            'good',
            False,
            None,
            pose,
        ),
        dataset.TestImage(
            'test/added/01_0',
            root / 'test/added/01_0.png',
            camera,
            '01',
            0,
            'added',
            True,
            root / 'ground_truth/added/01_0.png',
            pose,
            'front',
        ),
    ]
    dataset.write_images_json(root / 'test.json', camera, tests, [{}, {'part': '3024.dat'}])
    return root


def test_training_views_round_trip(class_dir, camera):
    views = dataset.read_training_views(class_dir)
    assert [v.name for v in views] == ['000', '001']
    assert views[0].camera.K == pytest.approx(camera.K)
    center = geometry.camera_center(views[0].cam_from_object)
    assert center == pytest.approx([0.2, -0.1, 0.1], abs=1e-12)
    assert dataset.class_name(class_dir) == 'coupe'
    assert dataset.class_dirs(class_dir.parent) == [class_dir]
    assert dataset.class_dirs(class_dir) == [class_dir]


def test_training_view_is_put_on_white(class_dir):
    clear, half = (view.load() for view in dataset.read_training_views(class_dir))
    assert (clear[0] == 255).all() and (clear[1] == 0).all()
    # 200 * 128/255 + 255 * 127/255 = 227.39; 0 + 127 = 127
    assert half[0][0, 0].tolist() == [227, 127, 127]
    assert half[1][0, 0] == pytest.approx(128 / 255)


def test_training_view_without_alpha_takes_white_as_background(class_dir):
    path = class_dir / 'train/good/000.png'
    picture = np.full((SIZE, SIZE, 3), 255, np.uint8)
    picture[:3] = (250, 255, 200)
    images.write(path, picture)
    alpha = dataset.read_training_views(class_dir)[0].load()[1]
    assert alpha[:3].min() == 1 and alpha[3:].max() == 0


def test_test_images_round_trip(class_dir):
    good, added = dataset.read_test_images(class_dir)
    assert (good.object_id, good.defect, good.is_anomalous) == ('00', 'good', False)
    assert (added.object_id, added.defect, added.is_anomalous) == ('01', 'added', True)
    assert added.camera_name == 'front' and added.name == 'test/added/01_0'
    assert not good.load_mask().any()
    assert added.load_mask().sum() == 4
    assert added.load_image().shape == (SIZE, SIZE, 3)
    assert added.cam_from_object.translation[2] == pytest.approx(np.sqrt(0.06))
    assert dataset.read_camera(class_dir / 'test.json').K[0, 0] == 10


def test_validation_images_are_optional_and_good(class_dir, camera):
    assert dataset.read_validation_images(class_dir) == []
    content = json.loads((class_dir / 'test.json').read_text())
    content['images'] = content['images'][:1]
    content['images'][0]['file_path'] = 'validation/good/00_0.png'
    (class_dir / 'validation.json').write_text(json.dumps(content))
    (image,) = dataset.read_validation_images(class_dir)
    assert image.load_image().shape == (SIZE, SIZE, 3)
    content['images'][0]['defect'] = 'added'
    (class_dir / 'validation.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match='intact pieces only'):
        dataset.read_validation_images(class_dir)


def test_mad_layout_without_test_json(class_dir):
    (class_dir / 'test.json').unlink()
    truth = class_dir / 'ground_truth/added'
    (truth / '01_0.png').rename(truth / '01_0_mask.png')
    content = json.loads((class_dir / 'transforms.json').read_text())
    for key in ('w', 'h', 'fl_x', 'fl_y', 'cx', 'cy'):
        del content[key]
    content['camera_angle_x'] = 2 * np.arctan(0.5)
    (class_dir / 'transforms.json').write_text(json.dumps(content))
    added, good = dataset.read_test_images(class_dir)
    assert added.camera.K[0, 0] == pytest.approx(SIZE) and added.camera.K[0, 2] == SIZE / 2
    assert added.mask_path.name == '01_0_mask.png' and added.is_anomalous
    assert not good.is_anomalous and good.cam_from_object is None


def test_nerf_synthetic_scene(class_dir):
    content = {'camera_angle_x': 2 * np.arctan(0.5), 'frames': []}
    matrix = np.eye(4)
    matrix[2, 3] = 4  # OpenGL camera on the z axis that looks back at the origin
    content['frames'].append(
        {'file_path': './train/good/000', 'transform_matrix': matrix.tolist()}
    )
    (class_dir / 'transforms.json').unlink()
    (class_dir / 'transforms_train.json').write_text(json.dumps(content))
    (view,) = dataset.read_training_views(class_dir)
    assert view.path.name == '000.png' and view.camera.K[1, 1] == pytest.approx(SIZE)
    pixel = geometry.project_object(view.camera, view.cam_from_object, np.zeros((1, 3)))
    assert pixel[0] == pytest.approx([4, 4])
    assert view.cam_from_object.translation == pytest.approx([0, 0, 4])


@pytest.mark.parametrize('binary', [True, False])
def test_photos_with_colmap_model(tmp_path, binary):
    model = tmp_path / 'bracket/sparse/0'
    model.mkdir(parents=True)
    if binary:
        camera = struct.pack('<iiQQ4d', 1, 2, 640, 480, 500.0, 320.0, 240.0, 0.1)
        (model / 'cameras.bin').write_bytes(struct.pack('<Q', 1) + camera)
        poses = b''
        for number, name in ((1, b'b.jpg'), (2, b'a.jpg')):
            poses += struct.pack('<i7di', number, 1, 0, 0, 0, 0.1, 0.2, 0.3 * number, 1)
            poses += name + b'\0' + struct.pack('<Q', 1) + struct.pack('<ddq', 1.0, 2.0, -1)
        (model / 'images.bin').write_bytes(struct.pack('<Q', 2) + poses)
    else:
        (model / 'cameras.txt').write_text('# comment\n1 SIMPLE_RADIAL 640 480 500 320 240 0.1\n')
        (model / 'images.txt').write_text(
            '# comment\n1 1 0 0 0 .1 .2 .3 1 b.jpg\n1 2 -1\n2 1 0 0 0 .1 .2 .6 1 a.jpg\n\n'
        )
    first, second = dataset.read_training_views(tmp_path / 'bracket')
    assert (first.name, second.name) == ('a', 'b')
    assert first.path == tmp_path / 'bracket/images/a.jpg'
    assert first.camera.K[0, 0] == 500 and first.camera.distortion[0] == 0.1
    assert first.cam_from_object.translation == pytest.approx([0.1, 0.2, 0.6])
    assert second.cam_from_object.rotation == pytest.approx(np.eye(3))


def test_colmap_camera_with_parameters_of_another_model(tmp_path):
    model = tmp_path / 'sparse/0'
    model.mkdir(parents=True)
    (model / 'images.txt').write_text('1 1 0 0 0 .1 .2 .3 1 b.jpg\n1 2 -1\n')
    (model / 'cameras.txt').write_text('1 SIMPLE_RADIAL 640 480 500 510 320 240 0.1\n')
    with pytest.raises(ValueError, match='SIMPLE_RADIAL has 5 parameters, wanted 4'):
        dataset.read_training_views(tmp_path)
    (model / 'cameras.txt').write_text('1 SIMPLE_RADIAL 640 480 500 510 320 240\n')
    with pytest.raises(ValueError, match='distortion moves the edge'):
        dataset.read_training_views(tmp_path)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'camera_model': 'OPENCV_FISHEYE', 'k1': 0.1}, "camera_model 'OPENCV_FISHEYE' is not"),
        ({'camera_model': 'EQUIRECTANGULAR'}, "camera_model 'EQUIRECTANGULAR' is not read"),
        ({'is_fisheye': True}, 'is_fisheye is True, of a lens model that is not read'),
        ({'camera_model': 'OPENCV', 'k4': 0.1}, 'k4 is 0.1, of a lens model that is not read'),
        ({'fl_x': None}, r'fl_x \(or camera_angle_x\)'),
        ({'cx': 30.0}, 'principal point 30, 4 px is off the image of 8x8 px'),
        ({'frames': [{'file_path': 'a.png', 'transform_matrix': [1.0] * 16}]}, r'shape \(16,\)'),
    ],
)
def test_cameras_that_are_not_read_are_refused_by_the_key(class_dir, changes, words):
    content = json.loads((class_dir / 'transforms.json').read_text()) | changes
    content = {key: value for key, value in content.items() if value is not None}
    (class_dir / 'transforms.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf'transforms\.json, frame 0: .*{words}'):
        dataset.read_training_views(class_dir)


def test_both_angles_of_view_give_both_focal_lengths(class_dir):
    content = json.loads((class_dir / 'transforms.json').read_text())
    del content['fl_x'], content['fl_y']
    content |= {'camera_angle_x': 2 * np.arctan(0.5), 'camera_angle_y': 2 * np.arctan(0.4)}
    (class_dir / 'transforms.json').write_text(json.dumps(content))
    K = dataset.read_training_views(class_dir)[0].camera.K
    assert (K[0, 0], K[1, 1]) == (pytest.approx(SIZE), pytest.approx(SIZE / 0.8))


def test_damaged_colmap_model(tmp_path):
    model = tmp_path / 'sparse/0'
    model.mkdir(parents=True)
    (model / 'cameras.bin').write_bytes(struct.pack('<Q', 3))
    with pytest.raises(FileNotFoundError, match=r'images\.bin'):
        dataset.read_training_views(tmp_path)
    (model / 'images.bin').write_bytes(b'')
    with pytest.raises(ValueError, match='no readable COLMAP model'):
        dataset.read_training_views(tmp_path)


def test_errors_name_the_file(class_dir):
    with pytest.raises(FileNotFoundError, match=r'no transforms\.json'):
        dataset.read_training_views(class_dir / 'test')
    with pytest.raises(FileNotFoundError, match='no class folder'):
        dataset.class_dirs(class_dir / 'test')
    with pytest.raises(ValueError, match=r'transforms\.json holds no camera'):
        dataset.read_camera(class_dir / 'transforms.json')
    content = json.loads((class_dir / 'transforms.json').read_text())
    del content['frames'][1]['transform_matrix']
    (class_dir / 'transforms.json').write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"transforms\.json, frame 1: 'transform_matrix' is missing"
    ):
        dataset.read_training_views(class_dir)
    (class_dir / 'test.json').write_text('{"width": 8')
    with pytest.raises(ValueError, match=r'test\.json is not JSON'):
        dataset.read_test_images(class_dir)


def test_picture_of_another_size_is_refused(class_dir):
    images.write(class_dir / 'test/good/00_0.png', np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(ValueError, match=r'6x4 px, its camera 8x8'):
        dataset.read_test_images(class_dir)[0].load_image()
