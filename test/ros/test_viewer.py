"""The live page: what it is told, and that it shows a real line."""

import array
import json
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from helpers.small_dataset import picture
from pad_inspection.ros import conversions, debug_pictures, interfaces
from pad_inspection.ros.graph import NodeSpec
from pad_inspection.ros.viewer_server import ViewerServer, ViewerState
from pad_inspection.text_safety import MAX_ID_LENGTH


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


def answer(url, request):
    """First line of the answer to bytes of a request."""
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(request)
        with connection.makefile('rb') as stream:
            return stream.readline().decode().strip()


def asked_for(host, path='/'):
    return f'GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n'.encode()


def test_only_who_asks_for_this_computer_is_answered():
    """A foreign name that points here (DNS rebinding) reads nothing."""
    server = ViewerServer(ViewerState(['a']), '127.0.0.1', 0, host_names=['Line-1.factory'])
    server.start()
    own = socket.gethostname()
    try:
        for host in (
            'localhost:1',
            '127.0.0.1',
            '[::1]:8080',
            '10.0.0.7',
            own,
            'LINE-1.factory:80',
        ):
            assert ' 200 ' in answer(server.url, asked_for(host)), host
        for path in ('/', '/events', '/picture/a/overlay'):
            for host in ('evil.example', 'evil.example:8080', 'localhost.evil.example', '[x', ''):
                assert ' 421 ' in answer(server.url, asked_for(host, path)), host
        for request in (
            b'GET / HTTP/1.1\r\n\r\n',
            b'GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n',
            b'GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n',
        ):
            assert ' 421 ' in answer(server.url, request)
    finally:
        server.stop()


def test_requests_are_bounded(served):
    _, url = served
    long = b'GET /' + b'a' * 20_000 + b' HTTP/1.1\r\nHost: localhost\r\n\r\n'
    many = b'GET / HTTP/1.1\r\nHost: localhost\r\n' + b'X: y\r\n' * 5000 + b'\r\n'
    for request in (long, many):
        assert ' 431 ' in answer(url, request)
    assert ' 501 ' in answer(url, b'POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n')
    assert ' 200 ' in answer(url, asked_for('localhost'))


def test_connections_are_bounded():
    state = ViewerState(['a'])
    server = ViewerServer(state, '127.0.0.1', 0, max_connections=4)
    server.start()
    address = urllib.parse.urlsplit(server.url)
    page = asked_for('localhost')

    def connect(request=b''):
        made = socket.create_connection((address.hostname, address.port), timeout=30)
        made.sendall(request)
        return made

    def status(request):
        return answer(server.url, request).split()[1]

    def until(wanted, request):
        end = time.monotonic() + 60
        while (got := status(request)) != wanted and time.monotonic() < end:
            state.set_model('', str(time.monotonic()))  # who is gone is noticed at the next news
            time.sleep(0.01)
        assert got == wanted

    try:
        pages = [connect(asked_for('localhost', '/events')) for _ in range(2)]
        assert all(b' 200 ' in made.recv(100) for made in pages)
        # half of the connections may be pages that stay; the others still get pictures
        assert status(asked_for('localhost', '/events')) == '503'
        until('200', page)
        idle = [connect() for _ in range(2)]
        until('503', page)
        for made in idle:
            made.close()
        until('200', page)
        for made in pages:
            made.close()
        until('200', asked_for('localhost', '/events'))
    finally:
        server.stop()


def test_what_is_kept_and_sent_is_bounded(served):
    state, url = served
    long = 'x\x1b[31m\u202e' * 100_000
    state.set_result('left', object_id=long, verdict='PASS', score=0.5, message=long)
    for index in range(60):
        state.add_piece(object_id=long, reject=True, score=None, reason='NONE', message=long)
        state.set_model(f'{index}{long}', long)
        state.set_health(f'{index}{long}', long, warn=False)
    (shown,) = events(url, 1)
    assert len(json.dumps(shown)) < 100_000
    assert len(shown['models']) == len(shown['health']) == 50
    assert shown['cameras']['left']['object_id'].startswith(r'x\x1b[31m\u202ex')
    assert len(shown['pieces'][0]['object_id']) <= MAX_ID_LENGTH
    assert shown['pieces'][0]['message'].endswith('...[700000 characters]')


def test_no_picture_is_worth_a_node():
    """Whatever comes as a debug picture: a picture that is not too large, or a warning."""
    rng, warnings = np.random.default_rng(0), []
    logger = SimpleNamespace(warning=lambda text, **_: warnings.append(text))
    node = SimpleNamespace(get_logger=lambda: logger)
    for _ in range(500):
        height, width, step = (int(rng.choice([0, 1, 7, 10**6, 2**32 - 1])) for _ in range(3))
        encoding = str(
            rng.choice(['rgb8', 'bgr8', 'mono16', '32FC1', '8UC4', 'bayer_rggb8', 'x\n'])
        )
        data = array.array('B', bytes(int(rng.choice([0, 2, 7, 49, 4000]))))
        message = Image(height=height, width=width, encoding=encoding, step=step, data=data)
        seen = debug_pictures.read(node, 'overlay', message, max_side_px=5)
        assert seen is None or max(seen.shape[:2]) <= 5
    assert warnings and all(text.isprintable() for text in warnings)
    good = conversions.array_to_image(picture(), 'rgb8', Header())
    assert debug_pictures.read(node, 'overlay', good).shape == picture().shape


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
    broken = [
        Image(height=10, width=10, encoding='rgb8', step=30, data=array.array('B', b'12')),
        Image(height=1, width=1, encoding='nonsense', step=3, data=array.array('B', b'123')),
    ]
    for message in broken:
        line.publish(interfaces.OVERLAY, message)
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
    assert 'overlay of camera cannot be read' in line.graph.log_tail('/viewer_node')
