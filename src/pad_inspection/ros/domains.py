"""Takes a ROS domain that nobody uses, for graphs that no other graph may meet: demo, tests."""

from __future__ import annotations

import random
import socket

# Numbers below are what people choose by hand; above 101 the ports of a domain reach into those
# that Linux gives to clients.
_IDS = range(20, 102)
# RTPS: all ports of a domain lie in [7400 + 250 d, 7400 + 250 (d + 1)).
_FIRST_PORT, _PORTS = 7400, 250
_HOLDER = '\0pad_inspection.ros_domain.{}'


class ReservedDomain:
    """A domain that no other holder has and in which no participant was found on this computer.

    Held until it is released, or the process is gone; use it as a context if you like. Programs
    that do not ask this class can still join it later.

    Attributes:
        id: ROS_DOMAIN_ID.
    """

    def __init__(self):
        """Take one.

        Raises:
            ValueError: all are in use.
        """
        first = random.SystemRandom().randrange(len(_IDS))
        for domain_id in [*_IDS[first:], *_IDS[:first]]:
            # held before it is looked at: two that look at once do not both take it
            holder = _hold(domain_id)
            if holder is None:
                continue
            if not _has_participants(domain_id):
                self.id, self._holder = domain_id, holder
                return
            holder.close()
        raise ValueError(
            f'ROS domains {_IDS[0]} to {_IDS[-1]} are all in use on this computer: end some of '
            'the graphs that run, or choose a domain id'
        )

    @property
    def environment(self) -> dict[str, str]:
        """Variables that keep a participant in this domain and on this computer."""
        return {
            'ROS_DOMAIN_ID': str(self.id),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_STATIC_PEERS': '',
        }

    def release(self) -> None:
        """Let others have it."""
        self._holder.close()

    def __enter__(self) -> ReservedDomain:
        return self

    def __exit__(self, *_) -> None:
        self.release()


def _hold(domain_id: int) -> socket.socket | None:
    """Take the name of a domain, which the system frees with the process; None: it is taken."""
    # a name in Linux's abstract namespace: no file that could be left over or be somebody else's
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(_HOLDER.format(domain_id))
    except OSError:
        holder.close()
        return None
    return holder


def _has_participants(domain_id: int) -> bool:
    """Whether any UDP port of a domain is bound, also one that is shared (multicast)."""
    first = _FIRST_PORT + _PORTS * domain_id
    for port in range(first, first + _PORTS):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', port))
            except OSError:
                return True
    return False
