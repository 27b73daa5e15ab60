"""No two graphs meet that did not want to."""

import os
import socket
import subprocess
import sys

import pytest
import rclpy
from rclpy.context import Context

from pad_inspection.ros import domains
from pad_inspection.ros.domains import ReservedDomain
from pad_inspection.ros.graph import ros_environment


def only(monkeypatch, *ids):
    """Let no other domains be chosen."""
    monkeypatch.setattr(domains, '_IDS', list(ids))


def test_a_domain_has_one_holder(monkeypatch):
    with ReservedDomain() as first, ReservedDomain() as second:
        assert first.id != second.id and {first.id, second.id} <= set(range(20, 102))
        only(monkeypatch, first.id, second.id)
        with pytest.raises(ValueError, match='all in use'):
            ReservedDomain()
        second.release()
        with ReservedDomain() as again:
            assert again.id == second.id


def test_a_holder_that_is_killed_holds_no_more(monkeypatch):
    code = (
        'from pad_inspection.ros.domains import ReservedDomain\n'
        'domain = ReservedDomain()\n'
        'print(domain.id, flush=True)\n'
        'input()\n'
    )
    holder = subprocess.Popen(
        [sys.executable, '-c', code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ros_environment(),
    )
    only(monkeypatch, int(holder.stdout.readline()))
    with pytest.raises(ValueError, match='all in use'):
        ReservedDomain()
    holder.kill()
    holder.communicate()
    ReservedDomain().release()


@pytest.mark.parametrize('reach', ['LOCALHOST', 'SUBNET'])
def test_a_domain_with_a_participant_is_left_alone(monkeypatch, reach):
    with ReservedDomain() as domain:
        for name, value in ros_environment().items():
            monkeypatch.setenv(name, value)
        for name, value in domain.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', reach)
        context = Context()
        rclpy.init(args=[], context=context)
    only(monkeypatch, domain.id)
    node = rclpy.create_node('stranger', context=context)
    try:
        with pytest.raises(ValueError, match='all in use'):
            ReservedDomain()
    finally:
        node.destroy_node()
        context.try_shutdown()
    ReservedDomain().release()


@pytest.mark.parametrize('offset', [0, 10, 35])
def test_a_port_that_is_shared_counts_too(monkeypatch, offset):
    with ReservedDomain() as domain, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        domain.release()
        only(monkeypatch, domain.id)
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(('', 7400 + 250 * domain.id + offset))
        with pytest.raises(ValueError, match='all in use'):
            ReservedDomain()


def test_its_environment_wins_over_that_of_the_user(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', '0')
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    monkeypatch.setenv('ROS_STATIC_PEERS', '192.168.1.1')
    with ReservedDomain() as domain:
        os.environ.update(domain.environment)
        env = ros_environment()
    assert env['ROS_DOMAIN_ID'] == str(domain.id)
    assert env['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST' and env['ROS_STATIC_PEERS'] == ''
