"""Executor for nodes that must take in many messages while something else takes its time.

rclpy's multi-threaded executor builds a wait set of all topics, services and timers anew for each
message of a mutually exclusive group, and always begins with the first topic: with three cameras
of 20 Hz the last ones wait for seconds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.context import Context
from rclpy.executors import (
    ConditionReachedException,
    Executor,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)


class QuickCallbackGroup(MutuallyExclusiveCallbackGroup):
    """Group of callbacks that take only a moment: LineExecutor runs them where it spins.

    Each topic of the group with something to read has its turn before one has the next.
    """


class LineExecutor(Executor):
    """Quick callbacks run in the thread that spins, all others in a pool of threads."""

    def __init__(self, num_threads: int, *, context: Context | None = None):
        """Make the pool.

        Args:
            num_threads: of the pool.
            context: of rclpy; None = the default one.
        """
        super().__init__(context=context)
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix='callbacks')
        self._submitted: list = []

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Run the next callback that is ready, or begin it in the pool.

        Args:
            timeout_sec: to wait for one, None = as long as it takes.

        Raises:
            Exception: what a callback raised, now or since the last call.
        """
        self._collect()
        try:
            task, entity, _ = self.wait_for_ready_callbacks(timeout_sec=timeout_sec)
        except (
            ConditionReachedException,
            ExternalShutdownException,
            ShutdownException,
            TimeoutException,
        ):
            return
        if isinstance(getattr(entity, 'callback_group', None), QuickCallbackGroup):
            task()
            task.result()
            return
        # a task that no thread has begun yet is handed out once more
        if task not in self._submitted:
            self._submitted.append(task)
            self._pool.submit(task)
        self._collect()

    def _collect(self) -> None:
        """Forget the callbacks of the pool that have ended; raise what one of them raised."""
        done = [task for task in self._submitted if task.done()]
        self._submitted = [task for task in self._submitted if task not in done]
        for task in done:
            task.result()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Begin no callback any more; wait for those that run in the pool, as long as it takes.

        Args:
            timeout_sec: of rclpy's own clean-up.

        Returns:
            See rclpy.
        """
        # first: a callback that begins after rclpy's part takes its message and then fails
        self._pool.shutdown(cancel_futures=True)
        return super().shutdown(timeout_sec)
