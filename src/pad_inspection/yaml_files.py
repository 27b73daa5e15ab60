"""YAML as it was meant: a key that is given twice is an error, and errors are one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# Mappings and lists inside of one another; values in all, those of aliases each time.
_MAX_DEPTH, _MAX_VALUES = 50, 100_000


class _Loader(yaml.SafeLoader):
    """Safe, and refuses a key that is given twice, of which YAML readers take the last."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(':merge'):
                continue
            key = self.construct_object(key_node)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ValueError(f'{key!r} is given twice, the second time in line {line}')
            seen.add(key)
        return super().construct_mapping(node, deep)


def _check_extent(content: Any) -> None:
    """Refuse what has no end or grows without bound: anchors inside of themselves or one another.

    Raises:
        ValueError: it is nested too deeply, or holds too much.
    """
    waiting, seen = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > _MAX_DEPTH:
            raise ValueError('not YAML of use: nested too deeply')
        if seen > _MAX_VALUES:
            raise ValueError(f'not YAML of use: more than {_MAX_VALUES} values')
        if isinstance(value, dict | list):
            children = value.values() if isinstance(value, dict) else value
            waiting += [(child, depth + 1) for child in children]


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        OSError: it cannot be read.
        ValueError: not YAML, or a key is given twice; the message does not name the file.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding='utf-8'), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'not YAML: {" ".join(str(error).split())}') from error
    except RecursionError as error:
        raise ValueError('not YAML of use: nested too deeply') from error
    _check_extent(content)
    return content
