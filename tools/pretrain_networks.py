"""Train the networks of the package, which every `pad build` starts from, on several products.

Example:
  python tools/pretrain_networks.py --scenes 800 --epochs 8 \
      out/benchmark/police_car:out/bundles/police_car demo/data/coupe:demo/bundle/coupe

Each argument is CLASS_DIR:BUNDLE. Only training pictures (good pieces) are used. The result goes
to src/pad_inspection/data/networks, or to --out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pad_inspection.config import InspectionConfig, TrainingConfig, from_dict
from pad_inspection.dataset import read_training_views
from pad_inspection.networks.product_networks import ProductNetworks
from pad_inspection.offline.synthetic_scenes import SceneMaker
from pad_inspection.offline.train_networks import train_on
from pad_inspection.rendering.gaussians import read_ply

DATA = Path(__file__).resolve().parents[1] / 'src' / 'pad_inspection' / 'data' / 'networks'


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('products', nargs='+', metavar='CLASS_DIR:BUNDLE')
    parser.add_argument('--scenes', type=int, default=800, help='of all products together')
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--out', type=Path, default=DATA)
    arguments = parser.parse_args()
    makers = []
    for product in arguments.products:
        class_dir, _, bundle = product.partition(':')
        gaussians = read_ply(Path(bundle) / 'gaussians.ply')
        makers.append(SceneMaker(read_training_views(Path(class_dir)), gaussians))
    inspection = from_dict(
        InspectionConfig,
        {'segmentation': {'network': 'product'}, 'comparison': {'learned_weight': 1.0}},
    )
    last = time.monotonic()

    def progress(fraction: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last > 10 or fraction >= 1:
            last = time.monotonic()
            print(f'{fraction:.0%} {text}', flush=True)

    networks = train_on(
        makers,
        TrainingConfig(scenes=arguments.scenes, epochs=arguments.epochs),
        inspection,
        ProductNetworks(),
        seed=arguments.seed,
        progress=progress,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    networks.save(arguments.out)
    print(f'networks in {arguments.out}')


if __name__ == '__main__':
    main()
