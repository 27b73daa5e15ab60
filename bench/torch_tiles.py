"""Rasterization in plain torch operations, tile by tile: what the C++ rasterizer is compared with.

The projection is taken from the C++ code, so the ratio is rather too small than too large.
"""

import torch

TILE_PX = 16
LEAST_ALPHA, MOST_ALPHA, LEAST_TRANSMITTANCE = 1 / 255, 0.999, 1e-4


def rasterize(projection, pinhole) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (H, W, 3) premultiplied by alpha and alpha (H, W) of a cpu_backend.Projection."""
    order = torch.argsort(projection.depths.detach())
    order = order[projection.radii[order, 0] > 0]
    means, conics = projection.means2d[order], projection.conics[order]
    colors, opacities = projection.colors[order], projection.opacities[order]
    low = means.detach() - projection.radii[order]
    high = means.detach() + projection.radii[order]
    rows = []
    for y in range(0, pinhole.height, TILE_PX):
        in_row = (high[:, 1] > y) & (low[:, 1] < y + TILE_PX)
        tiles = []
        for x in range(0, pinhole.width, TILE_PX):
            inside = torch.nonzero(in_row & (high[:, 0] > x) & (low[:, 0] < x + TILE_PX))[:, 0]
            size = min(TILE_PX, pinhole.width - x), min(TILE_PX, pinhole.height - y)
            tiles.append(
                _tile(x, y, *size, means[inside], conics[inside], colors[inside],
                      opacities[inside])
            )  # fmt: skip
        rows.append(torch.cat(tiles, dim=1))
    image = torch.cat(rows)
    return image[..., :3], image[..., 3]


def _tile(x, y, width, height, means, conics, colors, opacities) -> torch.Tensor:
    """(height, width, 4), colour and alpha of one tile."""
    ys, xs = torch.meshgrid(
        torch.arange(height) + (y + 0.5), torch.arange(width) + (x + 0.5), indexing='ij'
    )
    dx = xs.reshape(1, -1) - means[:, :1]
    dy = ys.reshape(1, -1) - means[:, 1:]
    xx, xy, yy = conics[:, :, None].unbind(1)
    exponent = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    alpha = (opacities[:, None] * torch.exp(-exponent)).clamp(max=MOST_ALPHA)
    alpha = torch.where(alpha >= LEAST_ALPHA, alpha, 0)
    after = torch.cumprod(1 - alpha, dim=0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weight = torch.where(after > LEAST_TRANSMITTANCE, alpha * before, 0)
    ones = torch.ones(len(colors), 1)
    return (weight.T @ torch.cat([colors, ones], dim=1)).reshape(height, width, 4)
