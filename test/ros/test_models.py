"""Models of several products in one node."""

import dataclasses

import numpy as np
import pytest
from std_msgs.msg import Header

from helpers.ros_line import camera
from helpers.small_dataset import GREEN, picture
from helpers.small_inspector import SmallInspector, write_bundle
from pad_inspection.datatypes import Frame, Reason, Verdict
from pad_inspection.ros.model_loading import loaded_model
from pad_inspection.ros.models import ModelSet
from pad_inspection.ros.node_configs import InspectionNodeConfig


def model(tmp_path, name, **content):
    path = write_bundle(tmp_path / name, model_id=name, **content)
    return loaded_model(SmallInspector.from_bundle(path), path, Header())


def frame(color=None, object_id='p'):
    image = picture() if color is None else picture(color=color)
    return Frame(image, camera(), 1, 'camera', object_id)


@pytest.fixture
def models(tmp_path):
    return ModelSet(
        {'blue': model(tmp_path, 'b'), 'green': model(tmp_path, 'g', color='green')}, margin=0.05
    )


def test_bundles_of_the_parameters():
    assert InspectionNodeConfig(bundle='a').uris() == {'': 'a'}
    several = InspectionNodeConfig(bundles=('car=a', 'truck=file:///b?x=1'))
    assert several.uris() == {'car': 'a', 'truck': 'file:///b?x=1'}
    for bundle, bundles in (('', ()), ('a', ('car=b',)), ('', ('car',)), ('', ('a=b', 'a=c'))):
        with pytest.raises(ValueError, match='bundles'):
            InspectionNodeConfig(bundle=bundle, bundles=bundles).uris()


def test_a_product_that_is_told(models):
    inspection, product, used = models.inspect(frame(GREEN), 'green')
    assert (inspection.verdict, product, used.info.model_id) == (Verdict.PASS, 'green', 'g')
    inspection, product, _ = models.inspect(frame(GREEN), 'blue')
    assert (inspection.reason, product) == (Reason.NOT_LOCALIZED, 'blue')
    inspection, product, used = models.inspect(frame(GREEN), 'red')
    assert (inspection.reason, product, used) == (Reason.MODEL_NOT_LOADED, '', None)
    assert "'red'" in inspection.message


def test_a_product_that_is_recognised(models):
    inspection, product, used = models.inspect(frame(GREEN, 'p1'), '')
    assert (inspection.verdict, product, used.info.model_id) == (Verdict.PASS, 'green', 'g')
    inspection, product, _ = models.inspect(frame(object_id='p2'), '')
    assert (inspection.verdict, product) == (Verdict.PASS, 'blue')
    inspection, product, used = models.inspect(frame((90, 90, 90)), '')
    assert (inspection.reason, product, used) == (Reason.NOT_LOCALIZED, '', None)


def test_views_of_one_piece_must_be_one_product(models):
    assert models.inspect(frame(GREEN), '')[1] == 'green'
    inspection, product, _ = models.inspect(frame(), '')
    assert (inspection.verdict, product) == (Verdict.UNDETERMINED, '')
    assert 'as blue' in inspection.message and 'as green' in inspection.message


@pytest.mark.parametrize(('only', 'known'), [('', 'b'), ('car', 'car')])
def test_an_only_model_without_a_name_is_that_of_one_product(tmp_path, only, known):
    models = ModelSet({'': model(tmp_path, 'b')}, only_product=only)
    assert models.get('anything') is None and models.get('') is not None
    for told in ('', known):
        inspection, product, used = models.inspect(frame(), told)
        assert (inspection.verdict, product) == (Verdict.PASS, told) and used is not None
    inspection, product, used = models.inspect(frame(), 'truck')
    assert (inspection.verdict, product, used) == (Verdict.UNDETERMINED, '', None)
    assert inspection.reason == Reason.MODEL_NOT_LOADED and f"['{known}']" in inspection.message


def test_swap_takes_the_next_image(models, tmp_path):
    strict = model(tmp_path, 'strict', threshold=1e-9)
    assert models.inspect(frame(), 'blue')[2].info.model_id == 'b'
    models.swap('blue', strict)
    assert models.inspect(frame(), 'blue')[2].info.model_id == 'strict'
    assert models.names == ['blue', 'green']


def test_points_come_from_the_inspector(tmp_path):
    plain = model(tmp_path, 'b')
    assert plain.points is None

    class WithPoints(SmallInspector):
        def object_points(self):
            return np.ones((5, 3))

    inspector = WithPoints.from_bundle(plain.path)
    assert loaded_model(inspector, plain.path, Header()).points.shape == (5, 3)
    assert dataclasses.is_dataclass(plain)
