"""The connection to a line controller (PLC), beside inspection.launch.py in the same namespace.

ros2 launch pad_inspection line_controller.launch.py map_file:=plc_modbus.yaml namespace:=line_1
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
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'params_file',
                default_value=config_file('line_controller.yaml'),
                description='parameters of the node: times',
            ),
            DeclareLaunchArgument(
                'map_file',
                default_value=config_file('plc_modbus.yaml'),
                description='protocol, address and variables of the line controller (docs/plc.md)',
            ),
            DeclareLaunchArgument(
                'endpoint',
                default_value='',
                description="address of the line controller; '' = that of map_file",
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='prefix of all nodes and topics'
            ),
            *[SetEnvironmentVariable(*variable) for variable in dds_environment().items()],
            Node(
                package='pad_inspection',
                executable='line_controller_node',
                name='line_controller_node',
                namespace=LaunchConfiguration('namespace'),
                output='screen',
                parameters=[
                    LaunchConfiguration('params_file'),
                    {'map_file': text('map_file'), 'endpoint': text('endpoint')},
                ],
            ),
        ]
    )
