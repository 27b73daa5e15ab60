"""The line with cameras that are played from test pictures, or from a bag.

ros2 launch pad_inspection demo.launch.py bundle:=demo/bundle/coupe class_dir:=demo/data/coupe
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from pad_inspection.ros.dds_environment import dds_environment


def config_file(name):
    return PathJoinSubstitution([FindPackageShare('pad_inspection'), 'config', name])


def text(name):
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def generate_launch_description():
    params_file = LaunchConfiguration('params_file')
    common = {
        'package': 'pad_inspection',
        'namespace': LaunchConfiguration('namespace'),
        'output': 'screen',
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=config_file('demo.yaml'),
                description='parameters of the three nodes',
            ),
            DeclareLaunchArgument(
                'bundle', default_value='demo/bundle/coupe', description='model bundle'
            ),
            DeclareLaunchArgument(
                'class_dir',
                default_value='demo/data/coupe',
                description="data set to play; '' with bag",
            ),
            DeclareLaunchArgument('bag', default_value='', description='rosbag2 to play instead'),
            DeclareLaunchArgument(
                'namespace', default_value='', description='prefix of all nodes and topics'
            ),
            *[SetEnvironmentVariable(*variable) for variable in dds_environment().items()],
            Node(
                executable='inspection_node',
                name='inspection_node',
                parameters=[params_file, {'bundle': text('bundle')}],
                **common,
            ),
            Node(executable='reject_node', name='reject_node', parameters=[params_file], **common),
            Node(
                executable='replay_node',
                name='replay_node',
                parameters=[params_file, {'class_dir': text('class_dir'), 'bag': text('bag')}],
                **common,
            ),
        ]
    )
