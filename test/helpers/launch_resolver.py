"""Resolves a Python launch file without the launch packages: what would be started, and how.

Knows the plain actions and substitutions that the project's launch files use; anything else
raises, so that a launch file cannot pass here by using what nobody looked at. Where the real
packages are installed, ``ros2 launch --print`` shows the same.
"""

import importlib.util
import sys
import types
from dataclasses import dataclass, field


@dataclass
class ResolvedNode:
    """A node that would be started: command-line arguments as launch_ros gives them."""

    package: str
    executable: str
    arguments: list
    respawn: bool = False


@dataclass
class Resolved:
    nodes: list = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    arguments: dict = field(default_factory=dict)


class Substitution:
    def __init__(self, *parts, **options):
        self.parts, self.options = parts, options


class LaunchConfiguration(Substitution):
    def perform(self, context):
        return context.arguments[self.parts[0]]


class FindPackageShare(Substitution):
    def perform(self, context):
        return context.share[text_of(self.parts[0], context)]


class PathJoinSubstitution(Substitution):
    def perform(self, context):
        return '/'.join(text_of(part, context) for part in self.parts[0])


class ParameterValue:
    def __init__(self, value, value_type=None):
        self.value, self.value_type = value, value_type


class Action:
    def __init__(self, *words, **options):
        self.words, self.options = words, options


class DeclareLaunchArgument(Action):
    pass


class SetEnvironmentVariable(Action):
    pass


class Node(Action):
    pass


class LaunchDescription:
    def __init__(self, entities):
        self.entities = list(entities)


@dataclass
class Context:
    share: dict
    arguments: dict


def text_of(value, context):
    """Text of a string, a substitution or a list of them."""
    if isinstance(value, (list, tuple)):
        return ''.join(text_of(part, context) for part in value)
    return value.perform(context) if isinstance(value, Substitution) else str(value)


def _modules():
    """Stand-ins for the modules that launch files import from."""
    content = {
        'launch': {'LaunchDescription': LaunchDescription},
        'launch.actions': {
            'DeclareLaunchArgument': DeclareLaunchArgument,
            'SetEnvironmentVariable': SetEnvironmentVariable,
        },
        'launch.substitutions': {
            'LaunchConfiguration': LaunchConfiguration,
            'PathJoinSubstitution': PathJoinSubstitution,
        },
        'launch_ros': {},
        'launch_ros.actions': {'Node': Node},
        'launch_ros.substitutions': {'FindPackageShare': FindPackageShare},
        'launch_ros.parameter_descriptions': {'ParameterValue': ParameterValue},
    }
    modules = {}
    for name, names in content.items():
        modules[name] = types.ModuleType(name)
        modules[name].__dict__.update(names)
        modules[name].__path__ = []
    return modules


def _describe(path):
    """Launch description of a file."""
    stand_ins = _modules()
    saved = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        spec = importlib.util.spec_from_file_location('launch_file_under_test', path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.generate_launch_description()
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _parameter_words(parameters, context):
    """Arguments that carry parameters: files and single values."""
    words = []
    for item in parameters:
        if not isinstance(item, dict):
            words += ['--params-file', text_of(item, context)]
            continue
        for name, value in item.items():
            if isinstance(value, ParameterValue):
                # launch_ros writes such values into a YAML file, where text is quoted
                assert value.value_type is str
                value = f'"{text_of(value.value, context)}"'
            words += ['-p', f'{name}:={text_of(value, context)}']
    return words


def _resolve_node(options, context):
    """ResolvedNode of a Node action."""
    known = {
        'package',
        'executable',
        'name',
        'namespace',
        'parameters',
        'output',
        'respawn',
        'respawn_delay',
    }
    assert set(options) <= known, f'resolver does not know {set(options) - known}'
    words = ['--ros-args', '-r', f'__node:={text_of(options["name"], context)}']
    namespace = text_of(options.get('namespace', ''), context)
    if namespace:
        words += ['-r', f'__ns:=/{namespace.strip("/")}']
    words += _parameter_words(options.get('parameters', []), context)
    return ResolvedNode(
        text_of(options['package'], context),
        text_of(options['executable'], context),
        words,
        options.get('respawn', False),
    )


def resolve(path, share, **given):
    """What a launch file would do.

    Args:
        path: the .launch.py file.
        share: package -> its share folder.
        given: launch arguments.

    Raises:
        KeyError: a launch argument that the file does not declare.
    """
    entities = _describe(path).entities
    context, resolved = Context(share, {}), Resolved()
    declared = [e for e in entities if isinstance(e, DeclareLaunchArgument)]
    for entity in declared:
        name = entity.words[0]
        assert entity.options.get('description'), f'argument {name} is not documented'
        default = text_of(entity.options['default_value'], context)
        context.arguments[name] = given.pop(name, default)
    if given:
        raise KeyError(f'undeclared launch arguments {sorted(given)}')
    resolved.arguments = dict(context.arguments)
    for entity in entities:
        if isinstance(entity, Node):
            resolved.nodes.append(_resolve_node(entity.options, context))
        elif isinstance(entity, SetEnvironmentVariable):
            name, value = (text_of(word, context) for word in entity.words)
            resolved.environment[name] = value
        else:
            assert isinstance(entity, DeclareLaunchArgument), f'unknown action {entity}'
    return resolved
