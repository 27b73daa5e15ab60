"""Talking to line controllers (PLCs): variable map, protocols, handover. Knows nothing of ROS."""
