"""The node graph as people start it: `pad demo`, `pad up`; replay of data sets."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.small_dataset import picture, write_dataset
from helpers.small_inspection_node import PROGRAMS
from helpers.small_inspector import write_bundle
from pad_inspection import images
from pad_inspection.ros.demo import run_demo_graph
from pad_inspection.ros.graph import NodeDiedError, ros_environment
from pad_inspection.ros.replay_source import DatasetSource


def test_demo_writes_a_complete_report(tmp_path):
    class_dir = write_dataset(tmp_path, ('good', 'added', 'good', 'recolour'), views=3)
    bundle, out = write_bundle(tmp_path / 'bundle'), tmp_path / 'out'
    lines = []
    report = run_demo_graph(bundle, class_dir, out, programs=PROGRAMS, show=lines.append)
    assert report.complete and report.right == 4
    assert (report.frames_sent, report.results_received, report.reject_signals) == (12, 12, 4)
    written = json.loads((out / 'report.json').read_text())
    assert [(o['truth'], o['verdict']) for o in written['objects']] == [
        ('good', 'PASS'),
        ('added', 'REJECT'),
        ('good', 'PASS'),
        ('recolour', 'REJECT'),
    ]
    for name in ('object_id', 'truth', 'verdict', 'score', 'reason'):
        assert name in written['objects'][0]
    assert written['seconds'] > 0 and len(written['objects'][0]['views']) == 3
    assert len(list((out / 'overlays').glob('*.png'))) == 12
    assert images.read_rgb(out / 'contact_sheet.png').shape[0] > 4 * 200
    assert any('4 of 4 verdicts right' in text for text in lines)


def test_demo_tells_when_a_node_dies(tmp_path):
    class_dir = write_dataset(tmp_path)
    bundle = tmp_path / 'bundle'
    bundle.mkdir()
    with pytest.raises(NodeDiedError, match='model.json does not exist'):
        run_demo_graph(bundle, class_dir, tmp_path / 'out', programs=PROGRAMS)


def test_demo_tells_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='pad build'):
        run_demo_graph(tmp_path / 'nothing', tmp_path, tmp_path / 'out')
    bundle = write_bundle(tmp_path / 'bundle')
    with pytest.raises(FileNotFoundError):
        run_demo_graph(bundle, tmp_path / 'nothing', tmp_path / 'out', programs=PROGRAMS)


def test_exposures_hold_each_camera_once(tmp_path):
    class_dir = write_dataset(tmp_path, ('good',), views=3)
    source = DatasetSource(class_dir, 'image_rect_color')
    assert source.cameras == ['camera_0', 'camera_1', 'camera_2']
    (batch,) = source.batches(lambda: 5)
    assert batch.frames == (('camera_0', 5), ('camera_1', 5), ('camera_2', 5))
    trigger = batch.messages[0][1]
    assert trigger.object_id == '00' and trigger.expected_views == 3

    content = json.loads((class_dir / 'test.json').read_text())
    for entry in content['images']:
        entry['camera'] = 'line'
    (class_dir / 'test.json').write_text(json.dumps(content))
    batches = list(DatasetSource(class_dir, 'image_rect_color').batches(lambda: 5))
    assert [b.frames for b in batches] == [(('line', 5),), (('line', 6),), (('line', 7),)]
    assert [b.messages[0][1].expected_views for b in batches] == [3, 3, 3]
    assert {b.object_ids for b in batches} == {('00',)}


def test_labels_do_not_travel(tmp_path):
    class_dir = write_dataset(tmp_path, ('recolour',), views=1)
    (batch,) = DatasetSource(class_dir, 'image_rect_color').batches(lambda: 5)
    assert 'recolour' not in ''.join(str(message) for _, message in batch.messages)


def up(tmp_path, domain_id, text):
    """Start `pad up` with a parameter file."""
    path = tmp_path / 'nodes.yaml'
    path.write_text(text)
    env = ros_environment(domain_id=domain_id, log_dir=tmp_path / 'log')
    return subprocess.Popen(
        [sys.executable, '-m', 'helpers.small_pad', 'up', '--config', str(path)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def node(kind, **values):
    lines = [f'/**/{kind}:', '  ros__parameters:']
    return '\n'.join([*lines, *(f'    {n}: {json.dumps(v)}' for n, v in values.items())]) + '\n'


def line_file(tmp_path, **replay):
    """Parameter file of a whole line."""
    cameras = ['camera_0', 'camera_1']
    bundle = str(write_bundle(tmp_path / 'bundle'))
    return (
        node(
            'inspection_node',
            bundle=bundle,
            cameras=cameras,
            reliable_images=True,
            trigger_timeout=30,
        )
        + node('reject_node', cameras=cameras)
        + node('replay_node', class_dir=str(write_dataset(tmp_path)), min_listeners=2, **replay)
    )


def test_up_runs_a_line_until_ctrl_c(tmp_path, domain_id):
    process = up(tmp_path, domain_id, line_file(tmp_path, rate=50.0))
    output = []
    for text in process.stdout:
        output.append(text)
        if '6 images sent, 6 results' in text:
            break
    # a terminal sends it to the whole group, and impatient people send it twice
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    text = ''.join(output) + rest
    assert process.returncode == 0, text
    assert '01: reject' in text and '02: pass' in text and 'Traceback' not in text


def test_demo_is_interrupted_cleanly(tmp_path):
    """Ctrl-C twice in the middle of a slow inspection: all processes end."""
    class_dir = write_dataset(tmp_path)
    bundle = write_bundle(tmp_path / 'bundle', delay_s=3.0)
    code = (
        'import sys; from pathlib import Path\n'
        'from pad_inspection.ros.demo import run_demo_graph\n'
        'paths = [Path(word) for word in sys.argv[1:]]\n'
        'show = lambda text: print(text, flush=True)\n'
        f'run_demo_graph(*paths, programs={PROGRAMS!r}, show=show)\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code, str(bundle), str(class_dir), str(tmp_path / 'out')],
        env=ros_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    for text in process.stdout:
        if 'loaded' in text:
            break
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.1)
    output, _ = process.communicate(timeout=60)
    assert 'KeyboardInterrupt' in output
    assert 'had to' not in output and 'did not end' not in output
    pids = [int(line) for line in running_with(str(tmp_path))]
    assert pids == []


def running_with(text):
    """Ids of processes whose command line holds a text."""
    for entry in Path('/proc').iterdir():
        try:
            if entry.name.isdigit() and text in (entry / 'cmdline').read_text():
                yield entry.name
        except OSError:
            continue


def test_up_ends_when_a_node_dies(tmp_path, domain_id):
    text = line_file(tmp_path)
    (tmp_path / 'bundle' / 'model.json').unlink()
    process = up(tmp_path, domain_id, text)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and 'model.json does not exist' in output


def test_up_refuses_a_bad_file(tmp_path, domain_id):
    process = up(tmp_path, domain_id, node('inspection_node', bundel='x'))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and 'bundel' in output and len(output.splitlines()) == 1


def test_lost_results_are_reported(tmp_path, line):
    from pad_inspection.ros.graph import NodeSpec

    class_dir = write_dataset(tmp_path, ('good',), views=1)
    images.write(class_dir / 'test/good/00_0.png', picture())
    replay = {
        'class_dir': str(class_dir),
        'wait_for_model': False,
        'min_listeners': 0,
        'result_timeout': 0.3,
        'exit_when_done': True,
    }
    process = line.graph.start(NodeSpec('replay_node', replay))
    assert process.wait(60) == 1
    assert '1 images sent, 0 results' in line.graph.log_tail('/replay_node')
