"""An independent DDS implementation receives the results of a real inspection_node."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pad_msgs.msg import InspectionResult

PEER = Path(__file__).parents[1] / 'helpers' / 'cyclone_peer.py'
# Cyclone and Fast DDS describe types to each other in ways that do not fit; neither needs to.
PROFILE = """\
<profiles xmlns="http://www.eprosima.com">
  <participant profile_name="no_types" is_default_profile="true">
    <rtps><propertiesPolicy><properties><property>
      <name>fastdds.type_propagation</name><value>disabled</value>
    </property></properties></propertiesPolicy></rtps>
  </participant>
</profiles>
"""


@pytest.mark.skipif(
    importlib.util.find_spec('cyclonedds') is None, reason='cyclonedds is not installed'
)
def test_cyclonedds_receives_results(line):
    profile = line.path / 'profile.xml'
    profile.write_text(PROFILE)
    line.graph._env['FASTDDS_DEFAULT_PROFILES_FILE'] = str(profile)
    line.start_inspection()
    peer = subprocess.Popen(
        [sys.executable, str(PEER), 'camera/inspection_results', '2'],
        env=line.graph.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert peer.stdout.readline() == 'ready\n'
        line.wait(
            lambda: line.node.count_subscribers('camera/inspection_results') == 2, 'the peer'
        )
        sent = {}

        def answered():
            defect = bool(len(sent) % 2)
            image = line.image(defect=defect)
            line.send(image)
            stamp = image.header.stamp
            sent[stamp.sec, stamp.nanosec] = line.result_of(image.header)
            return peer.poll() is not None

        line.wait(answered, 'results at the peer')
        assert peer.returncode == 0
        lines = peer.stdout.read().splitlines()
    finally:
        peer.kill()
        peer.wait()
    verdicts = set()
    for received in map(json.loads, lines):
        ours = sent[tuple(received['stamp'])]
        verdicts.add(received['verdict'])
        assert received['verdict'] == ours.verdict and received['reason'] == ours.reason
        assert received['object_id'] == ours.object_id and received['camera_name'] == 'camera'
        assert received['score'] == ours.anomaly_score
        assert received['z'] == ours.pose.pose.pose.position.z == 0.3
        assert received['area_px'] == [region.area_px for region in ours.regions]
        assert received['steps'] == {'compare': 1.5}
    assert verdicts == {InspectionResult.VERDICT_PASS, InspectionResult.VERDICT_REJECT}
