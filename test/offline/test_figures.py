import xml.etree.ElementTree as ElementTree

import numpy as np

from pad_inspection.offline import figures


def _parse(svg):
    return ElementTree.fromstring(svg)


def _tags(svg, name):
    return _parse(svg).findall(f'{{http://www.w3.org/2000/svg}}{name}')


def test_curve_is_cut_at_the_limit_and_drawn_in_place():
    x = np.array([0.0, 0.1, 0.5, 1.0])
    svg = figures.curve_figure('PRO', 'x', 'y < 1', [('a & b', x, x)], x_limit=0.3)
    (line,) = _tags(svg, 'polyline')
    points = [tuple(map(float, p.split(','))) for p in line.get('points').split()]
    frame = _tags(svg, 'rect')[-1]
    left, bottom = float(frame.get('x')), float(frame.get('y')) + float(frame.get('height'))
    right = left + float(frame.get('width'))
    assert points[0] == (left, bottom) and points[-1][0] == right
    # 0.3 of the height
    assert abs(points[-1][1] - (bottom - 0.3 * float(frame.get('height')))) < 0.1


def test_long_curves_are_thinned():
    x = np.linspace(0, 1, 50_000)
    svg = figures.curve_figure('ROC', 'x', 'y', [('a', x, np.sqrt(x))])
    assert len(svg) < 20_000


def test_histogram_counts_and_marks():
    scores = [0.1, 0.1, 0.9, float('inf'), float('nan')]
    svg = figures.histogram_figure('s', 'x', [('good', scores), ('bad', [])], [('limit', 0.5)])
    bars = _tags(svg, 'rect')[1:]
    assert len(bars) == 2  # two values in one bin, one in another
    heights = sorted(float(bar.get('height')) for bar in bars)
    assert abs(heights[1] - 2 * heights[0]) < 0.2
    assert 'limit' in svg
    _parse(figures.histogram_figure('empty', 'x', [('good', [])], [('no', float('nan'))]))
