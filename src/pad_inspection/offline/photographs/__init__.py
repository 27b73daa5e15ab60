"""From photographs without known cameras to a data set folder: cameras, scale, masks.

The flow is in estimate.py, the command in command.py.
"""
