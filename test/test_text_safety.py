"""Texts from outside: printed, logged and tabulated without harm."""

import csv
import io

import pytest

from pad_inspection.text_safety import MAX_ID_LENGTH, csv_cell, file_stem, printable


@pytest.mark.parametrize(
    'text, shown',
    [
        ('piece-17', 'piece-17'),
        ('Stück 4 / 部品', 'Stück 4 / 部品'),
        ('a\nb\r\tc', r'a\nb\r\tc'),
        ('\x1b[31mred\x9b', r'\x1b[31mred\x9b'),
        ('a\u202egnp.exe', r'a\u202egnp.exe'),
        ('\u2066x\u2069\u200b', r'\u2066x\u2069\u200b'),
        ('line\u2028para\u2029\x85', r'line\u2028para\u2029\x85'),
        ('\ud800\U000e0041', r'\ud800\U000e0041'),
        ('nul\x00', r'nul\x00'),
        (17, '17'),
    ],
)
def test_only_what_can_be_seen_is_printed(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    assert printable(text).isprintable()


@pytest.mark.parametrize('char', ['a', '\n', '\u202e'])
@pytest.mark.parametrize('length', [128, 129, 1_000_000])
def test_length_is_bounded_and_a_cut_is_told(char, length):
    shown = printable(char * length)
    assert len(shown) <= MAX_ID_LENGTH
    if shown != char * length:
        assert shown.endswith(f'...[{length} characters]')
        body = shown[: shown.index('...')]
        escaped = printable(char)
        assert body and body == escaped * (len(body) // len(escaped))
    assert printable(shown) == shown


def test_limit_has_room_for_the_mark():
    with pytest.raises(ValueError, match='limit is 10, wanted 40 or more'):
        printable('a', 10)


@pytest.mark.parametrize(
    'text', ['=HYPERLINK("http://x")', '+1+1', '-2+3', '@SUM(A1)', ' =1', '＝1', 'a;=1', '-inf;+1']
)
def test_no_cell_is_a_formula(text):
    stream = io.StringIO()
    csv.writer(stream).writerow([csv_cell(text)])
    (cell,) = next(csv.reader(io.StringIO(stream.getvalue())))
    for part in cell.split(';'):
        assert part.lstrip()[0] not in '=+-@＝'
    assert cell.replace("'", '') == text


@pytest.mark.parametrize(
    'value', [-3, -2.5, None, True, '-3', '+2.5e-3', '-inf', 'nan', 'a-b', '']
)
def test_numbers_and_harmless_texts_stay(value):
    assert csv_cell(value) is value or csv_cell(value) == value


@pytest.mark.parametrize('start', ['\t', '\r', '\n'])
def test_cell_does_not_start_with_white_space_that_hides_a_formula(start):
    assert csv_cell(start + '=1').startswith('\\')


@pytest.mark.parametrize(
    'text, stem',
    [
        ('piece-17.a', 'piece-17.a'),
        ('../../etc/x', '_._.._etc_x'),
        ('a/b\\c\n', 'a_b_c_'),
        ('x' * 300, 'x' * 80),
    ],
)
def test_file_names_stay_in_their_folder(text, stem):
    assert file_stem(text) == stem
