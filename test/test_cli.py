import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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


def test_console_script_runs():
    program = Path(sys.executable).with_name('pad')
    done = subprocess.run([program, '--version'], capture_output=True, text=True, check=True)
    assert done.stdout.startswith('pad 0.')
