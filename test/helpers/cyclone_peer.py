"""A subscriber on an independent DDS (Eclipse Cyclone): prints inspection results as JSON lines.

    python cyclone_peer.py <topic> <count>

The types below are written by hand from the .msg files, so that nothing is shared with the sender.
"""

import dataclasses
import json
import os
import sys
import time

import cyclonedds.idl.annotations as annotations
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import array, float32, float64, int32, sequence, uint8, uint16, uint32
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

CONFIG = (
    '<CycloneDDS><Domain><General><Interfaces><NetworkInterface address="127.0.0.1" '
    'multicast="true"/></Interfaces></General><Discovery><ParticipantIndex>auto'
    '</ParticipantIndex><Peers><Peer address="localhost"/></Peers></Discovery></Domain>'
    '</CycloneDDS>'
)
PATIENCE_S = 120.0


@dataclasses.dataclass
@annotations.final
class Time(IdlStruct, typename='builtin_interfaces::msg::dds_::Time_'):
    sec: int32
    nanosec: uint32


@dataclasses.dataclass
@annotations.final
class Duration(IdlStruct, typename='builtin_interfaces::msg::dds_::Duration_'):
    sec: int32
    nanosec: uint32


@dataclasses.dataclass
@annotations.final
class Header(IdlStruct, typename='std_msgs::msg::dds_::Header_'):
    stamp: Time
    frame_id: str


@dataclasses.dataclass
@annotations.final
class Point(IdlStruct, typename='geometry_msgs::msg::dds_::Point_'):
    x: float64
    y: float64
    z: float64


@dataclasses.dataclass
@annotations.final
class Quaternion(IdlStruct, typename='geometry_msgs::msg::dds_::Quaternion_'):
    x: float64
    y: float64
    z: float64
    w: float64


@dataclasses.dataclass
@annotations.final
class Pose(IdlStruct, typename='geometry_msgs::msg::dds_::Pose_'):
    position: Point
    orientation: Quaternion


@dataclasses.dataclass
@annotations.final
class PoseWithCovariance(IdlStruct, typename='geometry_msgs::msg::dds_::PoseWithCovariance_'):
    pose: Pose
    covariance: array[float64, 36]


@dataclasses.dataclass
@annotations.final
class RegionOfInterest(IdlStruct, typename='sensor_msgs::msg::dds_::RegionOfInterest_'):
    x_offset: uint32
    y_offset: uint32
    height: uint32
    width: uint32
    do_rectify: bool


@dataclasses.dataclass
@annotations.final
class ObjectPose(IdlStruct, typename='pad_msgs::msg::dds_::ObjectPose_'):
    status: uint8
    pose: PoseWithCovariance
    num_correspondences: uint32
    num_inliers: uint32
    reprojection_error_px: float32
    confidence: float32


@dataclasses.dataclass
@annotations.final
class AnomalyRegion(IdlStruct, typename='pad_msgs::msg::dds_::AnomalyRegion_'):
    roi: RegionOfInterest
    area_px: uint32
    max_score: float32
    mean_score: float32
    peak_position: Point


@dataclasses.dataclass
@annotations.final
class InspectionResult(IdlStruct, typename='pad_msgs::msg::dds_::InspectionResult_'):
    header: Header
    inspection_id: str
    camera_name: str
    object_id: str
    model_id: str
    model_version: str
    verdict: uint8
    reason: uint16
    message: str
    anomaly_score: float32
    threshold: float32
    object_threshold: float32
    inspected_fraction: float32
    pose: ObjectPose
    roi: RegionOfInterest
    regions: sequence[AnomalyRegion, 64]
    processing_time: Duration
    step_names: sequence[str]
    step_times_ms: sequence[float32]
    surface: sequence[float32]
    visible_places: uint32
    piece_score: float32
    piece_views: uint16
    object_type: str
    expected_views: uint32


@dataclasses.dataclass
@annotations.final
class InspectionResultArray(IdlStruct, typename='pad_msgs::msg::dds_::InspectionResultArray_'):
    header: Header
    results: sequence[InspectionResult]


def main(topic, count):
    os.environ.setdefault('CYCLONEDDS_URI', CONFIG)
    participant = DomainParticipant(int(os.environ.get('ROS_DOMAIN_ID', 0)))
    qos = Qos(
        Policy.Reliability.Reliable(duration(seconds=1)),
        Policy.Durability.Volatile,
        Policy.History.KeepLast(100),
    )
    reader = DataReader(
        participant, Topic(participant, f'rt/{topic}', InspectionResultArray, qos=qos), qos=qos
    )
    print('ready', flush=True)
    end, left = time.monotonic() + PATIENCE_S, count
    while left > 0 and time.monotonic() < end:
        for sample in reader.take(N=10):
            # a sample without data tells that a writer went
            for result in getattr(sample, 'results', ()):
                print(
                    json.dumps(
                        {
                            'object_id': result.object_id,
                            'camera_name': result.camera_name,
                            'verdict': result.verdict,
                            'reason': result.reason,
                            'score': result.anomaly_score,
                            'z': result.pose.pose.pose.position.z,
                            'regions': len(result.regions),
                            'area_px': [region.area_px for region in result.regions],
                            'steps': dict(zip(result.step_names, result.step_times_ms)),
                            'stamp': [result.header.stamp.sec, result.header.stamp.nanosec],
                        }
                    ),
                    flush=True,
                )
                left -= 1
        time.sleep(0.01)
    return 0 if left <= 0 else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
