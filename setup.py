"""Packaging of the ROS 2 package pad_inspection (ament_python); the root is the package."""

import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithRasterizer(build_py):
    """Compiles the C++ rasterizer beside the Python modules that load it."""

    def run(self):
        """Compile, then collect the files."""
        sys.path.insert(0, str(ROOT / 'tools'))
        import build_rasterizer

        build_rasterizer.build()
        super().run()


def share(folder: str, pattern: str):
    """A data_files entry that installs matching files into share/pad_inspection."""
    files = sorted(str(p.relative_to(ROOT)) for p in (ROOT / folder).glob(pattern))
    return (f'share/pad_inspection/{folder}', files)


setup(
    name='pad_inspection',
    version='0.1.0',
    description='Pose-agnostic visual inspection of objects on a conveyor, as a ROS 2 package',
    maintainer='pad_inspection developers',
    maintainer_email='maintainers@pad-inspection.invalid',
    license='Apache-2.0',
    python_requires='>=3.11',
    package_dir={'': 'src'},
    packages=find_packages('src', include=['pad_inspection', 'pad_inspection.*']),
    package_data={
        'pad_inspection': [
            'data/**/*',
            'data/*',
            'offline/*.js',
            'rendering/*.so',
            'rendering/**/*.cpp',
            'rendering/**/*.h',
        ]
    },
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/pad_inspection']),
        ('share/pad_inspection', ['package.xml']),
        share('launch', '*.launch.py'),
        share('config', '*.*'),
    ],
    install_requires=['setuptools'],
    extras_require={'plc': ['pymodbus>=3.11,<4', 'asyncua>=1.1,<3']},
    tests_require=['pytest'],
    zip_safe=False,
    cmdclass={'build_py': BuildWithRasterizer},
    entry_points={
        'console_scripts': [
            'pad = pad_inspection.cli:main',
            'inspection_node = pad_inspection.ros.inspection_node:main',
            'reject_node = pad_inspection.ros.reject_node:main',
            'line_controller_node = pad_inspection.ros.line_controller_node:main',
            'replay_node = pad_inspection.ros.replay_node:main',
            'viewer_node = pad_inspection.ros.viewer_node:main',
        ]
    },
)
