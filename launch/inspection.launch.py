"""An inspection line: inspection_node and reject_node from one parameter file.

ros2 launch pad_inspection inspection.launch.py params_file:=line_1.yaml namespace:=line_1
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from pad_inspection.ros.dds_environment import dds_environment


def config_file(name):
    return PathJoinSubstitution([FindPackageShare('pad_inspection'), 'config', name])


def generate_launch_description():
    common = {
        'package': 'pad_inspection',
        'namespace': LaunchConfiguration('namespace'),
        'output': 'screen',
        'parameters': [LaunchConfiguration('params_file')],
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=config_file('inspection.yaml'),
                description='parameters of both nodes: bundle, cameras, limits',
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='prefix of all nodes and topics'
            ),
            *[SetEnvironmentVariable(*variable) for variable in dds_environment().items()],
            Node(executable='inspection_node', name='inspection_node', **common),
            Node(executable='reject_node', name='reject_node', **common),
        ]
    )
