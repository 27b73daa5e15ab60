import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.stand_in_weights import (
    lightglue_state,
    netvlad_layers,
    write_netvlad,
    write_superpoint,
)
from pad_inspection import cli, images


def run(capsys, *argv):
    """Exit code, stdout, stderr of a command; argparse's own exit counts as well."""
    try:
        code = cli.main([str(word) for word in argv])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_lists_every_command(capsys):
    code, out, _ = run(capsys, '--help')
    assert code == 0
    for name in (*cli.COMMANDS, 'dataset'):
        assert f'\n  {name}' in out
    assert 'examples' in out or 'Typical use' in out


@pytest.mark.parametrize('name', cli.COMMANDS)
def test_help_of_every_command_teaches_with_examples(capsys, name):
    code, out, _ = run(capsys, name, '--help')
    assert code == 0
    assert 'example' in out.lower()
    assert f'pad {name}' in out


@pytest.mark.parametrize('name', cli.DATASET_COMMANDS)
def test_help_of_dataset_commands(capsys, name):
    code, out, _ = run(capsys, 'dataset', name, '--help')
    assert code == 0
    assert f'pad dataset {name}' in out


def test_no_command_is_bad_usage(capsys):
    code, out, _ = run(capsys)
    assert code == 2
    assert 'usage: pad COMMAND' in out


def test_unknown_command_is_one_line_on_stderr(capsys):
    code, out, err = run(capsys, 'inspekt')
    assert code == 2
    assert out == ''
    assert err.count('\n') == 1
    assert 'inspekt' in err and 'inspect' in err


def test_missing_arguments_are_bad_usage(capsys):
    assert run(capsys, 'inspect')[0] == 2


def test_a_missing_bundle_is_named_and_tells_how_to_make_one(capsys, tmp_path):
    picture = tmp_path / 'a.png'
    images.write(picture, np.zeros((8, 8, 3), np.uint8))
    camera = tmp_path / 'camera.json'
    camera.write_text(
        json.dumps({'width': 8, 'height': 8, 'K': [[9, 0, 4], [0, 9, 4], [0, 0, 1]]})
    )
    code, _, err = run(
        capsys, 'inspect', tmp_path / 'none', picture, '--camera', camera, '--out', tmp_path / 'o'
    )
    assert code == 2
    assert err.count('\n') == 1
    assert 'none' in err and 'pad build' in err


def test_a_missing_class_folder_is_named(capsys, tmp_path):
    code, _, err = run(capsys, 'build', tmp_path / 'nothing', '--out', tmp_path / 'bundle')
    assert code == 2
    assert 'nothing' in err
    assert not (tmp_path / 'bundle').exists()


@pytest.mark.parametrize('value', ['0', '-5'])
def test_a_bad_option_value_says_what_was_wanted(capsys, tmp_path, value):
    code, _, err = run(capsys, 'build', tmp_path, '--out', tmp_path / 'b', '--iterations', value)
    assert code == 2
    assert 'iterations' in err and 'wanted' in err


def test_unknown_configuration_key(capsys, tmp_path):
    (tmp_path / 'c.yaml').write_text('fit: {iteration: 5}')
    code, _, err = run(
        capsys, 'build', tmp_path, '--out', tmp_path / 'b', '--config', tmp_path / 'c.yaml'
    )
    assert code == 2
    assert 'iteration' in err and 'c.yaml' in err


def test_doctor_reports_this_environment(capsys):
    code, out, _ = run(capsys, 'doctor')
    assert code == 0, out
    assert 'render: cpu' in out and 'isnet' in out
    rows = json.loads(run(capsys, 'doctor', '--json')[1])
    assert {row['group'] for row in rows} >= {'packages', 'backends', 'weights'}
    assert all(row['found'] for row in rows if row['needed'])


def doctor_rows(capsys, tmp_path, **localization):
    """Exit code and the rows of localisation by name, with some options."""
    path = tmp_path / 'options.yaml'
    path.write_text(json.dumps({'localization': localization}))
    code, out, _ = run(capsys, 'doctor', '--json', '--config', path)
    return code, {r['name']: r for r in json.loads(out) if r['group'] == 'localisation'}


def test_cuda_without_a_gpu_is_told_in_a_line(capsys, tmp_path, demo_bundle):
    import torch

    if torch.cuda.is_available():
        pytest.skip('there is a CUDA device')
    data = demo_bundle.parents[1] / 'data' / 'coupe'
    code, _, err = run(
        capsys, 'evaluate', demo_bundle, data, '--out', tmp_path / 'out', '--device', 'cuda'
    )
    assert code == 2
    assert err.count('\n') == 1 and "take 'auto' or 'cpu'" in err


def test_doctor_tells_where_networks_run(capsys, tmp_path):
    import torch

    path = tmp_path / 'options.yaml'
    for device, found in (('cpu', True), ('cuda', torch.cuda.is_available())):
        path.write_text(json.dumps({'rendering': {'device': device}}))
        code, out, _ = run(capsys, 'doctor', '--json', '--config', path)
        rows = {row['name']: row for row in json.loads(out)}
        assert rows['networks']['found'] == found and code == (0 if found else 1)
        assert device in rows['networks']['detail']
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    assert rows['onnxruntime: cuda']['found'] == ('CUDAExecutionProvider' in providers)
    assert not rows['onnxruntime: cuda']['needed']


def test_doctor_tells_why_a_network_of_the_user_is_not_usable(capsys, tmp_path):
    code, rows = doctor_rows(capsys, tmp_path)
    assert code == 0
    for name, option in (
        ('features superpoint, matcher mutual_nn', 'features_weights'),
        ('features superpoint, matcher lightglue', 'features_weights'),
        ('retrieval netvlad', 'retrieval_weights'),
    ):
        assert not rows[name]['found'] and f'localization.{option}' in rows[name]['detail']
    (tmp_path / 'junk.mat').write_bytes(b'junk')
    code, rows = doctor_rows(
        capsys, tmp_path, retrieval='netvlad', retrieval_weights=str(tmp_path / 'junk.mat')
    )
    assert code == 1 and rows['retrieval netvlad']['needed']
    assert 'junk.mat holds no weights of NetVLAD' in rows['retrieval netvlad']['detail']


def test_doctor_loads_the_networks_that_the_options_name(capsys, tmp_path):
    import torch

    torch.save(lightglue_state(), tmp_path / 'superpoint_lightglue.pth')
    code, rows = doctor_rows(
        capsys,
        tmp_path,
        features='superpoint',
        features_weights=str(write_superpoint(tmp_path / 'superpoint_v1.pth')),
        matcher='lightglue',
        matcher_weights=str(tmp_path / 'superpoint_lightglue.pth'),
        retrieval='netvlad',
        retrieval_weights=str(write_netvlad(tmp_path / 'netvlad.mat', netvlad_layers())),
    )
    assert code == 0
    for name in ('features superpoint, matcher lightglue', 'retrieval netvlad'):
        assert rows[name]['needed'] and rows[name]['detail'] == 'usable'
    assert not rows['features xfeat, matcher mutual_nn']['needed']


def test_console_script_runs():
    program = Path(sys.executable).with_name('pad')
    done = subprocess.run([program, '--version'], capture_output=True, text=True, check=True)
    assert done.stdout.startswith('pad 0.')
