"""Options of the nodes beside the line: replay_node and viewer_node (see node_configs)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pad_inspection.checked_options import option
from pad_inspection.ros import names
from pad_inspection.ros.node_configs import NodeOptions, check_cameras


@dataclass(frozen=True)
class ReplayNodeConfig(NodeOptions):
    """What replay_node plays, and how."""

    class_dir: str = option('', 'dataset folder whose test images are played')
    bag: str = option('', 'rosbag2 folder (mcap or sqlite3) to play instead')
    topics: tuple = option((), 'topics of the bag to play; empty: images, CameraInfo and triggers')
    limit: int = option(0, 'play at most so many pieces; 0: all', low=0)
    rate: float = option(2.0, 'pieces per second; of a bag: speed factor', low=0.001, high=1000.0)
    max_in_flight: int = option(
        1, 'images sets without all results before the replay waits; 0: never waits', low=0
    )
    result_timeout: float = option(
        60.0,
        'a result that has not come after this counts as lost',
        unit='s',
        low=0.1,
        high=86400.0,
    )
    startup_timeout: float = option(
        120.0, 'the other nodes must be ready after this', unit='s', low=0.1, high=86400.0
    )
    min_listeners: int = option(
        1, 'subscribers to the triggers and images that must be there before playing', low=0
    )
    wait_for_model: bool = option(
        True, 'play only when an inspection node has announced its model'
    )
    wait_for_results: bool = option(True, 'false: only play, results are none of its business')
    exit_when_done: bool = option(False, 'end the node after the last result')
    image_topic: str = option('image_rect_color', 'name of the image topic below the camera')

    def check(self) -> None:
        """See NodeOptions."""
        names.check_names('image_topic', [self.image_topic])
        names.check_unique('topics', self.topics)
        if self.class_dir and self.bag:
            raise ValueError(
                f'class_dir is {self.class_dir!r} and bag is {self.bag!r}, wanted one of them'
            )
        if self.topics and self.class_dir:
            raise ValueError("parameter 'topics' does nothing for a data set (class_dir)")
        if self.limit and self.bag:
            raise ValueError("parameter 'limit' does nothing for a bag")
        for name in ('class_dir', 'bag'):
            value = getattr(self, name)
            if value and not Path(value).exists():
                raise FileNotFoundError(f'parameter {name!r} is {value!r}, which does not exist')

    def check_start(self) -> None:
        """See NodeOptions."""
        if not self.class_dir and not self.bag:
            raise ValueError("parameters 'class_dir' and 'bag' are empty, wanted one of them")


@dataclass(frozen=True)
class ViewerNodeConfig(NodeOptions):
    """What viewer_node shows, and where."""

    cameras: tuple = option(('camera',), 'names of the cameras that are shown')
    host: str = option(
        '127.0.0.1',
        'address to listen on; 0.0.0.0 shows the line to everybody in the network, without a '
        'password',
    )
    port: int = option(8080, 'port of the web page; 0: a free one', low=0, high=65535)
    host_names: tuple = option(
        (),
        'names under which browsers may ask for the page, besides addresses, localhost and the '
        'name of the computer',
    )
    max_connections: int = option(
        64, 'connections at once; each page that is open holds one', low=2, high=1000
    )
    num_pieces: int = option(20, 'pieces that are listed', low=1, high=1000)

    def check(self) -> None:
        """See NodeOptions."""
        check_cameras(self.cameras)
        if not self.host:
            # the system would take it for all addresses
            raise ValueError("parameter 'host' is empty, wanted an address to listen on")
