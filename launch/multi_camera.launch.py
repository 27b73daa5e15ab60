"""A line whose cameras are shared out over two inspection nodes, with the live page.

ros2 launch pad_inspection multi_camera.launch.py params_file:=line.yaml bundle:=/models/coupe

Which cameras a node has is in the parameter file, see config/multi_camera.yaml.
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


def generate_launch_description():
    params_file = LaunchConfiguration('params_file')
    common = {
        'package': 'pad_inspection',
        'namespace': LaunchConfiguration('namespace'),
        'output': 'screen',
    }
    bundle = {'bundle': ParameterValue(LaunchConfiguration('bundle'), value_type=str)}
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=config_file('multi_camera.yaml'),
                description='parameters of the four nodes, each in a section of its own',
            ),
            DeclareLaunchArgument(
                'bundle', default_value='demo/bundle/coupe', description='model bundle'
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='prefix of all nodes and topics'
            ),
            *[SetEnvironmentVariable(*variable) for variable in dds_environment().items()],
            Node(
                executable='inspection_node',
                name='inspection_node_1',
                parameters=[params_file, bundle],
                **common,
            ),
            Node(
                executable='inspection_node',
                name='inspection_node_2',
                parameters=[params_file, bundle],
                **common,
            ),
            Node(executable='reject_node', name='reject_node', parameters=[params_file], **common),
            Node(
                executable='viewer_node',
                name='viewer_node',
                parameters=[params_file],
                # the line goes on without it meanwhile
                respawn=True,
                respawn_delay=5.0,
                **common,
            ),
        ]
    )
