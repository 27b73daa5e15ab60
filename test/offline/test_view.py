import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from helpers import chromium
from pad_inspection.offline import view

BUNDLE = Path(__file__).parents[2] / 'demo' / 'bundle' / 'coupe'


def test_the_page_holds_everything():
    page = view.make_page(b'ply\n', 'run("</script>")', 'a <b>', [0.0, 1.0, 2.0], 0.1)
    assert '<title>a &lt;b&gt;</title>' in page
    settings = re.search(r'id="settings">(.*?)</script>', page).group(1)
    assert json.loads(settings) == {'title': 'a <b>', 'center': [0.0, 1.0, 2.0], 'radius': 0.1}
    assert 'cGx5Cg==' in page
    # nothing ends the program early, nothing is loaded from elsewhere
    assert page.count('</script>') == 3
    assert 'src=' not in page and 'href=' not in page


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which('npm'), reason='needs npm')
@pytest.mark.skipif(not chromium.PROGRAM, reason='needs Chromium')
def test_a_browser_shows_the_object(tmp_path):
    page = tmp_path / 'page.html'
    assert view.run(argparse.Namespace(bundle=BUNDLE, out=page, live=False)) == 0
    picture = chromium.screenshot(page, ' - ready').astype(int)
    object_pixels = (picture.max(axis=2) < 240) | (np.ptp(picture, axis=2) > 40)
    # a red car in the middle of a white page
    assert 0.05 < object_pixels.mean() < 0.7
    assert np.all(picture[:8, :8] == 255)
    red = (picture[..., 0] > 1.5 * picture[..., 1]) & (picture[..., 0] > 60)
    assert red.mean() > 0.03
