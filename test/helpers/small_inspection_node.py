"""inspection_node with a stand-in for the inspector, SmallInspector unless the command names one.

python -m helpers.small_inspection_node [module:name] --ros-args ...
"""

import importlib
import sys
from functools import partial

from helpers.small_inspector import SmallInspector
from pad_inspection.ros import inspection_node
from pad_inspection.ros.model_loading import load_inspector

SMALL = 'helpers.small_inspector:SmallInspector'
# What NodeGraph and the like run as inspection_node.
PROGRAMS = {'inspection_node': ('-m', 'helpers.small_inspection_node')}
load_small = partial(load_inspector, inspector_class=SmallInspector)


def program(inspector):
    """What Python runs for another class, given as module:name."""
    return (*PROGRAMS['inspection_node'], inspector)


def main():
    words = sys.argv[1:]
    module, _, name = (words[0] if words and ':' in words[0] else SMALL).partition(':')
    found = getattr(importlib.import_module(module), name)
    load = getattr(found, 'load', partial(load_inspector, inspector_class=found))
    return inspection_node.main(load=load)


if __name__ == '__main__':
    sys.exit(main())
