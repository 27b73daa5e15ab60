"""Environment variables of the middleware, for `pad up`, the launch files and the demo.

What the plant has set stays. By default a line is for one computer: nodes neither look for others
elsewhere, nor can be reached from there. A line over several computers sets
ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET, or ROS_STATIC_PEERS (docs/security.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_RANGE = 'ROS_AUTOMATIC_DISCOVERY_RANGE'


def dds_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that the nodes need.

    Over Fast DDS's default transport most large images are lost: config/fastdds.xml gives it more
    shared memory; LARGE_DATA counts where another profile, or none, is set.

    Args:
        environment: what is set already.
    """
    values = {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA', _RANGE: 'LOCALHOST'}
    profile = fastdds_profile(is_alone(environment))
    if profile is not None:
        # Fast DDS was renamed between Jazzy and Kilted, and warns about its old name
        old = environment.get('ROS_DISTRO') in ('humble', 'jazzy')
        values[f'FAST{"RTPS" if old else "DDS"}_DEFAULT_PROFILES_FILE'] = str(profile)
    return {name: environment.get(name) or value for name, value in values.items()}


def is_alone(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the line runs on one computer."""
    others = environment.get('ROS_STATIC_PEERS', '')
    return (environment.get(_RANGE) or 'LOCALHOST') == 'LOCALHOST' and not others.strip(' ;')


def fastdds_profile(alone: bool) -> Path | None:
    """Profile in config/ of the source tree or of the installed package; None when missing.

    Args:
        alone: the one that binds the loopback interface only.
    """
    from pad_inspection.ros.interfaces import package_share

    name = 'fastdds_localhost.xml' if alone else 'fastdds.xml'
    path = Path(__file__).resolve().parents[3] / 'config' / name
    if path.is_file():
        return path
    try:
        path = package_share('pad_inspection') / 'config' / name
    except FileNotFoundError:
        return None
    return path if path.is_file() else None
