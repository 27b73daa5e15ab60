"""`pad` whose `pad up` starts inspection nodes with the small inspector."""

import sys
from functools import partial

from helpers.small_inspection_node import PROGRAMS
from pad_inspection import cli
from pad_inspection.ros import graph

if __name__ == '__main__':
    graph.run_up = partial(graph.run_up, programs=PROGRAMS)
    sys.exit(cli.main())
