"""Write docs/options.md from the configuration dataclasses."""

from pathlib import Path

from pad_inspection import checked_options, config
from pad_inspection.offline.photographs.options import PhotographsConfig

TEXT = """# Every option

Made by `make docs`; do not edit.

## Inspection

Given in YAML (`pad inspect --config`), as ROS parameters of inspection_node, or in a build
configuration under `inspection:`.

{inspection}

## Build

`pad build --config`; `inspection:` holds the options above.

{build}

## Photographs without cameras

`--photographs-config` of `pad dataset cameras` and `pad build --unknown-cameras`.

{photographs}

## Presets

`preset: ours` is the defaults. The others change:

{presets}
"""


def page() -> str:
    """The page's text."""
    rows = checked_options.options_table(config.BuildConfig).splitlines()
    build = '\n'.join(row for row in rows if '`inspection.' not in row)
    presets = '\n'.join(
        f'* `{name}`: '
        + ', '.join(
            f'`{section}.{key}: {value}`'
            for section, values in changes.items()
            for key, value in values.items()
        )
        for name, changes in config.PRESET_VALUES.items()
        if changes
    )
    return TEXT.format(
        inspection=checked_options.options_table(config.InspectionConfig),
        build=build,
        photographs=checked_options.options_table(PhotographsConfig),
        presets=presets,
    )


def main() -> None:
    """Write the page."""
    (Path(__file__).parent.parent / 'docs' / 'options.md').write_text(page())


if __name__ == '__main__':
    main()
