"""YAML as it was meant: a key that is given twice is an error, and errors are one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# Mappings and lists inside of one another.
_MAX_DEPTH = 50


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


def _check_depth(content: Any, left: int = _MAX_DEPTH) -> None:
    """Refuse an anchor inside of itself, which has no end."""
    if not left:
        raise RecursionError
    children = content.values() if isinstance(content, dict) else content
    if isinstance(content, dict | list):
        for child in children:
            _check_depth(child, left - 1)


def read_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        OSError: it cannot be read.
        ValueError: not YAML, or a key is given twice; the message does not name the file.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding='utf-8'), Loader=_Loader)
        _check_depth(content)
        return content
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'not YAML: {" ".join(str(error).split())}') from error
    except RecursionError as error:
        raise ValueError('not YAML of use: nested too deeply') from error
