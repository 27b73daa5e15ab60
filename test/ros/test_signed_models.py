"""A line that asks for signatures loads no other model, neither at the start nor later."""

import pytest
from pad_msgs.srv import ReloadModel

from helpers.bundle_variants import copy_of
from pad_inspection.bundle import open_bundle
from pad_inspection.bundle_signature import make_keys, sign
from pad_inspection.ros import interfaces
from pad_inspection.ros.graph import NodeDiedError, NodeSpec


def test_a_model_that_is_not_signed_is_not_loaded(line, demo_bundle):
    private, public = line.path / 'private.pem', line.path / 'public.pem'
    make_keys(private, public)
    signed = copy_of(demo_bundle, line.path / 'signed')
    sign(open_bundle(signed), private)
    models = line.listen(interfaces.MODEL_INFO)

    def start(bundle):
        values = {'bundle': str(bundle), 'require_signature': [str(public)]}
        program = ('-m', 'pad_inspection.ros.inspection_node')
        line.graph.start(NodeSpec('inspection_node', values), program)
        line.wait(lambda: models, 'model_info')

    with pytest.raises(NodeDiedError, match='is not signed'):
        start(demo_bundle)
    line.kill('inspection_node')
    start(signed)
    request = ReloadModel.Request(model_uri=str(demo_bundle))
    answer = line.call(ReloadModel, '/inspection_node/reload_model', request)
    assert answer.result == answer.RESULT_INVALID and 'is not signed' in answer.message
    assert answer.model.model_id == 'coupe' and len(models) == 1
