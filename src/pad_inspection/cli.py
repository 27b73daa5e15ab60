"""The `pad` command: inspect products with a model made from pictures of good pieces.

Typical use:

  pad build demo/data/coupe --out out/coupe            make a model bundle
  pad inspect out/coupe photo.png --camera camera.json --out out/result
  pad evaluate out/coupe demo/data/coupe --out out/evaluation
  pad up --config config/inspection.yaml               run the ROS 2 nodes
  pad doctor                                           what is installed, what is missing

Exit codes: 0 done, 1 a check failed, 2 bad usage or input.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from pad_inspection.text_safety import printable

# Characters of the longest error that is shown.
_ERROR_LENGTH = 4000
# Command -> (module with add_arguments and run, what it does). Modules are imported when chosen.
COMMANDS: dict[str, tuple[str, str]] = {
    'build': ('pad_inspection.offline.build', 'make a model bundle from pictures of good pieces'),
    'calibrate': (
        'pad_inspection.offline.recalibrate',
        'thresholds from pictures of good pieces on the line',
    ),
    'bundle': (
        'pad_inspection.offline.bundle_command',
        'what a bundle holds; sign and verify bundles',
    ),
    'inspect': ('pad_inspection.offline.inspect_images', 'inspect pictures with a bundle'),
    'evaluate': ('pad_inspection.offline.evaluate', 'measure a bundle on a labelled data set'),
    'evaluate-all': ('pad_inspection.offline.evaluate_all', 'compare methods on all classes'),
    'up': ('pad_inspection.ros.up', 'start the ROS 2 node graph from a parameter file'),
    'ready': ('pad_inspection.ros.ready', 'wait until the nodes of a line are ready'),
    'bag': ('pad_inspection.ros.bag_command', 'record, play and inspect ROS 2 bags'),
    'log': (
        'pad_inspection.ros.log_command',
        'verdicts of a line: table, CSV, pictures of rejects',
    ),
    'demo': ('pad_inspection.ros.demo', 'the whole inspection over ROS 2 on the demo data'),
    'view': ('pad_inspection.offline.view', "look at a bundle's splats in a browser"),
    'doctor': ('pad_inspection.offline.doctor', 'what is installed and what is missing'),
}
DATASET_COMMANDS: dict[str, tuple[str, str]] = {
    'render': ('pad_inspection.offline.render_dataset.command', 'render the benchmark'),
    'cameras': (
        'pad_inspection.offline.photographs.command',
        'find the cameras of photographs that come without any',
    ),
    'board': ('pad_inspection.offline.photographs.print_board', 'make a marker board to print'),
    'check': ('pad_inspection.offline.check_dataset', 'verify a data set'),
    'preview': ('pad_inspection.offline.preview_dataset', 'contact sheets with masks outlined'),
}


class UsageError(Exception):
    """Bad usage; the message is shown and the exit code is 2."""


def _listing(commands: dict[str, tuple[str, str]]) -> str:
    """The commands as help text."""
    return '\n'.join(f'  {name:<12} {what}' for name, (_, what) in commands.items())


def _print_help(prog: str, text: str, commands: dict[str, tuple[str, str]]) -> None:
    """Help of `pad` and of `pad dataset`."""
    print(f'usage: {prog} COMMAND [options]\n\n{text.strip()}\n\ncommands:\n{_listing(commands)}')
    print(f'\n`{prog} COMMAND --help` explains one command with examples.')


def _dispatch(prog: str, argv: Sequence[str], commands, text: str) -> int:
    """Run the command that the first word names."""
    if not argv or argv[0] in ('-h', '--help', 'help'):
        _print_help(prog, text, commands)
        return 0 if argv else 2
    name, *rest = argv
    if name not in commands:
        raise UsageError(f'unknown command {name!r}, wanted one of: {", ".join(commands)}')
    module_name, _ = commands[name]
    if module_name == 'dataset':
        return _dispatch(f'{prog} dataset', rest, DATASET_COMMANDS, 'Make and check data sets.')
    module = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(
        prog=f'{prog} {name}',
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(rest)) or 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script.

    Args:
        argv: arguments without the program's name; None = those of the process.

    Returns:
        Exit code.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = '--debug' in argv
    argv = [word for word in argv if word != '--debug']
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format='%(levelname)s %(name)s: %(message)s',
    )
    if argv[:1] == ['--version']:
        from pad_inspection import __version__

        print(f'pad {__version__}')
        return 0
    commands = {**COMMANDS, 'dataset': ('dataset', 'render, check and preview data sets')}
    try:
        return _dispatch('pad', argv, commands, __doc__ or '')
    except (
        UsageError,
        ValueError,
        OSError,
        ImportError,
    ) as error:
        if debug:
            raise
        return _fail(error)
    except RuntimeError as error:
        # of these only the wrong device is the user's to mend; imported late, as numpy comes along
        from pad_inspection.rendering.backends import NoCudaError

        if debug or not isinstance(error, NoCudaError):
            raise
        return _fail(error)
    except KeyboardInterrupt:
        print('pad: interrupted', file=sys.stderr)
        return 130


def _fail(error: Exception) -> int:
    """Say what was wrong; the exit code."""
    text = printable(' '.join(str(error).split()), _ERROR_LENGTH)
    print(f'pad: error: {text}', file=sys.stderr)
    return 2


if __name__ == '__main__':
    sys.exit(main())
