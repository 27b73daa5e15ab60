"""Executor for nodes that must take in many messages while something else takes its time.

rclpy's multi-threaded executor builds a wait set of all topics, services and timers anew for each
message of a mutually exclusive group, and always begins with the first topic: with three cameras
of 20 Hz the last ones wait for seconds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
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

    def __init__(self, num_threads: int):
        """Make the pool.

        Args:
            num_threads: of the pool.
        """
        super().__init__()
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix='callbacks')
        self._submitted: list = []

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Run the next callback that is ready, or begin it in the pool.

        Args:
            timeout_sec: to wait for one, None = as long as it takes.

        Raises:
            Exception: what a callback raised.
        """
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
        done = [task for task in self._submitted if task.done()]
        self._submitted = [task for task in self._submitted if task not in done]
        for task in done:
            task.result()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Begin no callback any more; wait for those in the pool.

        Args:
            timeout_sec: see rclpy; the pool is waited for in any case.

        Returns:
            Whether all callbacks have ended.
        """
        ended = super().shutdown(timeout_sec)
        self._pool.shutdown()
        return ended
