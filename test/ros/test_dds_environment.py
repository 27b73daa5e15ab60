"""What the nodes' middleware may reach, and who can reach it."""

import os
import re
from pathlib import Path

import pytest

from helpers.launch_resolver import resolve
from pad_inspection.ros import interfaces
from pad_inspection.ros.dds_environment import dds_environment

ROOT = Path(__file__).parents[2]
PROFILE = 'FASTDDS_DEFAULT_PROFILES_FILE'
RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'


@pytest.mark.parametrize(
    ('given', 'wanted'),
    [
        ({}, {RANGE: 'LOCALHOST', PROFILE: 'fastdds_localhost.xml'}),
        ({RANGE: ''}, {RANGE: 'LOCALHOST', PROFILE: 'fastdds_localhost.xml'}),
        ({RANGE: 'SUBNET'}, {RANGE: 'SUBNET', PROFILE: 'fastdds.xml'}),
        ({'ROS_STATIC_PEERS': '10.0.0.2'}, {RANGE: 'LOCALHOST', PROFILE: 'fastdds.xml'}),
        ({PROFILE: '/etc/plant.xml'}, {PROFILE: 'plant.xml'}),
        ({'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}, {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}),
        (
            {'ROS_DISTRO': 'jazzy'},
            {'FASTRTPS_DEFAULT_PROFILES_FILE': 'fastdds_localhost.xml', PROFILE: ''},
        ),
    ],
)
def test_one_computer_unless_the_plant_says_otherwise(given, wanted):
    found = dds_environment(given)
    assert {name: Path(found.get(name, '')).name for name in wanted} == wanted


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'launch').glob('*.launch.py')), ids=lambda p: p.name
)
@pytest.mark.parametrize('discovery', ['', 'SUBNET'])
def test_launch_files_set_the_same(path, discovery, monkeypatch):
    monkeypatch.setenv(RANGE, discovery)
    resolved = resolve(path, {'pad_inspection': str(ROOT)})
    assert resolved.environment == dds_environment({RANGE: discovery})


def test_the_profiles_differ_in_the_interface_only():
    def profiles(name):
        text = (ROOT / 'config' / name).read_text()
        return text[text.index('<profiles') :]

    whitelist = (
        r'\s*<interfaceWhiteList>\s*<address>127\.0\.0\.1</address>\s*</interfaceWhiteList>'
    )
    alone, found = re.subn(whitelist, '', profiles('fastdds_localhost.xml'))
    assert found == 1 and alone == profiles('fastdds.xml')


def udp_addresses(pid):
    """Local (IPv4 address, port) of a process's UDP sockets, on Linux."""
    links = (os.readlink(f) for f in Path(f'/proc/{pid}/fd').iterdir() if f.is_symlink())
    sockets = {link[len('socket:[') : -1] for link in links if link.startswith('socket:[')}
    rows = [row.split() for row in Path(f'/proc/{pid}/net/udp').read_text().splitlines()[1:]]
    places = [row[1].split(':') for row in rows if row[9] in sockets]
    return {
        ('.'.join(str(b) for b in reversed(bytes.fromhex(address))), int(port, 16))
        for address, port in places
    }


@pytest.mark.skipif(not Path('/proc/net/udp').is_file(), reason='reads /proc')
def test_a_node_listens_to_its_own_computer_only(line):
    """LOCALHOST discovery alone binds 0.0.0.0, and answers whoever names this computer."""
    line.publisher(interfaces.RESULTS, 'left')
    line.start_reject(cameras=['left'])
    domain = int(line.graph.environment['ROS_DOMAIN_ID'])
    # the ports where DDS listens in this domain; the others only send
    ports = range(7400 + 250 * domain, 7400 + 250 * (domain + 1))
    found = udp_addresses(line.graph.process('/reject_node').pid)
    listening = {address for address, port in found if port in ports}
    assert listening == {'127.0.0.1'}, found
