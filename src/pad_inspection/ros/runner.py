"""Runs a node until it is done or a signal comes, and ends it cleanly with the right exit code.

A terminal and `ros2 launch` together send two SIGINTs; neither may cut the clean-up short, in
which nodes still answer what they hold. So signals only set a flag here, and rclpy's own handlers,
which would close the middleware first, are not installed.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable

from pad_inspection.ros import parameters

# A node ends itself when the process with this id is gone (set by graph.py).
PARENT_VARIABLE = 'PAD_PARENT_PID'
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# How often a signal is looked for while nothing arrives, s.
_POLL_S = 0.2
# The middleware may take this long to shut down when all is said and done, s.
_SHUTDOWN_S = 15.0


class NodeFailedError(RuntimeError):
    """The node cannot do its work; the message says why. The process ends with ``exit_code``."""

    def __init__(self, message: str, exit_code: int = 1):
        super().__init__(message)
        self.exit_code = exit_code


def _orphaned() -> bool:
    """Whether the process that started this node is gone."""
    parent = os.environ.get(PARENT_VARIABLE)
    return bool(parent) and os.getppid() != int(parent)


def _keep_awake(executor, stop: threading.Event) -> None:
    """Wake the executor now and then.

    The middleware waits by the system's clock. When that is set back by an hour, a wait of a
    fraction of a second takes an hour, and with it timers and deadlines.
    """
    while not stop.wait(_POLL_S):
        executor.wake()


def run(make_node: Callable, args: list[str] | None = None, *, threads: int = 2) -> int:
    """Start rclpy, spin the node, clean up.

    Args:
        make_node: () -> node. The node may have ``start(is_stopping)`` (called once the executor
            has it; a start that takes long looks whether it ``is_stopping()`` and returns),
            ``finished`` (an exit code ends the process, None goes on) and ``close()`` (called
            while the middleware still works).
        args: command line, None = sys.argv.
        threads: of the executor.

    Returns:
        Exit code: 0 after a signal, 1 or 2 after a failure that was told on stderr.
    """
    import rclpy
    from rclpy.exceptions import ParameterException
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    from pad_inspection.ros.executor import LineExecutor

    stop = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    # where each thread stands, on stderr: for a node that does not answer
    faulthandler.register(signal.SIGUSR1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    words = sys.argv if args is None else args
    try:
        parameters.check_files_of(words)
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except (ValueError, OSError, RuntimeError) as error:
        print(f'node: {" ".join(str(error).split())}', file=sys.stderr, flush=True)
        return 2
    executor = SingleThreadedExecutor() if threads == 1 else LineExecutor(threads)
    # goes on when a signal has come: the executor may begin a wait at that very moment
    spun = threading.Event()
    waker = threading.Thread(target=_keep_awake, args=(executor, spun), daemon=True)
    node, code = None, 0
    try:
        try:
            node = make_node()
            executor.add_node(node)
            getattr(node, 'start', lambda is_stopping: None)(stop.is_set)
        except (NodeFailedError, ValueError, OSError, ParameterException) as error:
            name = 'node' if node is None else node.get_name()
            print(f'{name}: {" ".join(str(error).split())}', file=sys.stderr, flush=True)
            return getattr(error, 'exit_code', 2)
        waker.start()
        while not stop.is_set() and rclpy.ok() and not _orphaned():
            executor.spin_once(timeout_sec=_POLL_S)
            finished = getattr(node, 'finished', None)
            if finished is not None:
                code = finished
                break
    finally:
        spun.set()
        if waker.is_alive():
            waker.join()
        if node is not None:
            getattr(node, 'close', lambda: None)()
        # waits for callbacks: one may just be loading a model
        executor.shutdown(timeout_sec=2.0)
        # nothing is lost any more: a middleware that hangs must not keep the next node waiting
        faulthandler.dump_traceback_later(_SHUTDOWN_S, exit=True)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        faulthandler.cancel_dump_traceback_later()
    return code
