"""Tests of the ROS layer; those that start nodes talk over real DDS on a domain of their own."""

import os

import pytest

pytest.importorskip('rclpy', reason='ROS 2 is not installed: make setup')


def pytest_collection_modifyitems(items):
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.ros)


@pytest.fixture
def line(tmp_path):
    """Nodes and a test node on one domain; everything is ended after the test."""
    from helpers.ros_line import Line

    with Line(tmp_path) as made:
        yield made
