"""The live page: what it is told, and that it shows a real line."""

import json
import socket
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

from helpers.small_dataset import picture
from pad_inspection.ros import conversions, interfaces
from pad_inspection.ros.graph import NodeSpec
from pad_inspection.ros.viewer_server import ViewerServer, ViewerState


@pytest.fixture
def served():
    state = ViewerState(['left', 'right'], num_pieces=2)
    server = ViewerServer(state, '127.0.0.1', 0)
    server.start()
    yield state, server.url
    server.stop()


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.headers['Content-Type'], answer.read()


def events(url, count):
    """First states that the page is sent."""
    found = []
    with urllib.request.urlopen(f'{url}events', timeout=30) as stream:
        while len(found) < count:
            line = stream.readline().decode()
            if line.startswith('data: '):
                found.append(json.loads(line.removeprefix('data: ')))
    return found


def test_page_and_pictures(served):
    state, url = served
    kind, page = get(url)
    assert kind.startswith('text/html') and b'EventSource' in page
    state.set_picture('left', 'overlay', picture())
    kind, data = get(f'{url}picture/left/overlay?v=1')
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert kind == 'image/jpeg' and np.abs(shown.astype(int) - picture()).mean() < 5
    for path in ('picture/left/reference', 'picture/nobody/overlay', 'etc/passwd', 'a/b/c/d'):
        with pytest.raises(urllib.error.HTTPError, match='404'):
            get(url + path)


def test_state(served):
    state, url = served
    state.set_model('', 'coupe')
    state.set_result('left', object_id='<b>p</b>', verdict='PASS', score=0.5)
    state.set_result('not shown', object_id='x', verdict='PASS', score=0.5)
    for index in range(3):
        state.add_piece(object_id=str(index), reject=index == 2, score=None)
    state.set_health('/inspection_node: cameras', 'no image', warn=True)
    (shown,) = events(url, 1)
    assert shown['cameras']['left']['object_id'] == '<b>p</b>' and shown['num_results'] == 1
    assert list(shown['cameras']) == ['left', 'right'] and shown['models'] == ['coupe']
    assert [p['object_id'] for p in shown['pieces']] == ['2', '1'] and shown['num_signals'] == 3
    assert shown['health'][0]['warn']


def test_news_come_by_themselves(served):
    state, url = served
    with urllib.request.urlopen(f'{url}events', timeout=30) as stream:
        first = stream.readline()
        state.set_model('', 'new')
        while not (second := stream.readline()).startswith(b'data: '):
            pass
    assert b'new' not in first and b'new' in second


def test_a_taken_port_is_told():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        with pytest.raises(ValueError, match='cannot listen'):
            ViewerServer(ViewerState(['a']), '127.0.0.1', taken.getsockname()[1])


def test_it_shows_a_line(line):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    results = interfaces.RESULTS.of('camera')
    line.start_inspection(trigger_timeout=30.0)
    line.graph.start(NodeSpec('viewer_node', {'cameras': ['camera'], 'port': port}))
    line.start_reject()
    url = f'http://127.0.0.1:{port}/'

    def listens():
        return 'open http' in line.graph.log_tail('/viewer_node') and all(
            'viewer_node' in [i.node_name for i in line.node.get_subscriptions_info_by_topic(name)]
            for name in (results, interfaces.OVERLAY.of('camera'))
        )

    line.wait(listens, 'viewer')
    sent = []

    def is_shown():
        image = line.image(defect=True)
        stamp_ns = conversions.stamp_to_ns(image.header.stamp)
        line.trigger(f'piece {len(sent)}', stamp_ns, ['camera'], 1)
        line.send(image)
        line.result_of(image.header)
        sent.append(image)
        (state,) = events(url, 1)
        view = state['cameras']['camera']
        return (
            view.get('verdict') == 'REJECT' and 'overlay' in view['pictures'] and state['pieces']
        )

    pieces = line.wait(is_shown, 'result on the page')
    assert pieces[0]['reject'] and pieces[0]['object_id'].startswith('piece ')
    assert get(f'{url}picture/camera/overlay')[0] == 'image/jpeg'
