"""Tests of the ROS layer; those that start nodes talk over real DDS on a domain of their own."""

import importlib.util
import os

import pytest

if importlib.util.find_spec('rclpy') is None:
    print('test/ros is left out: ROS 2 is not installed (make setup)')
    collect_ignore_glob = ['test_*.py']


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


@pytest.fixture
def domain_id():
    """A ROS domain that nobody else uses."""
    from pad_inspection.ros.domains import ReservedDomain

    with ReservedDomain() as domain:
        yield domain.id


@pytest.fixture(scope='session')
def _plcs():
    """Line controllers that run already, by protocol."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield stack, {}


@pytest.fixture(params=['modbus', 'opcua'])
def plc(request, _plcs):
    """A line controller of each protocol, as new."""
    from helpers.plc_servers import ModbusPlc, OpcUaPlc

    stack, running = _plcs
    if request.param not in running:
        made = {'modbus': ModbusPlc, 'opcua': OpcUaPlc}[request.param]()
        running[request.param] = stack.enter_context(made)
    else:
        running[request.param].reset()
    return running[request.param]
