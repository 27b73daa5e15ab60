"""Pose-agnostic visual inspection of objects on a conveyor.

Importing this package is cheap: it loads no network, no ROS and no heavy library.
"""

__version__ = '0.1.0'
