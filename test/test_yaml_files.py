import pytest

from pad_inspection.yaml_files import read_yaml


def test_plain_yaml_is_read_with_anchors_and_merges(tmp_path):
    path = tmp_path / 'a.yaml'
    path.write_text('base: &b {x: 1, y: [a, 2.5]}\nmore: {<<: *b, x: 2}\n')
    assert read_yaml(path) == {
        'base': {'x': 1, 'y': ['a', 2.5]},
        'more': {'x': 2, 'y': ['a', 2.5]},
    }


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'a: 1\nb: 2\na: 3\n', "'a' is given twice, the second time in line 3"),
        (b'a: {b: {c: 1, c: 1}}\n', "'c' is given twice"),
        (b'a: [\n', 'not YAML'),
        (b'a: \xff\n', 'not YAML'),
        (b'? [1]\n: 2\n', 'not YAML'),
        (b'[' * 5000, 'nested too deeply'),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(tmp_path, content, words):
    path = tmp_path / 'a.yaml'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_yaml(path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('a: &a {x: *a}', 'nested too deeply'),
        ('[' * 60 + ']' * 60, 'nested too deeply'),
        (
            'a: &a [x, x, x, x, x, x, x, x, x]\n'
            + ''.join(
                f'{new}: &{new} [{", ".join([f"*{old}"] * 9)}]\n'
                for old, new in zip('abcdefgh', 'bcdefghi')
            ),
            'more than 100000 values',
        ),
    ],
)
def test_what_has_no_end_is_refused(tmp_path, text, words):
    path = tmp_path / 'a.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_yaml(path)
