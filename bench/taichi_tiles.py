"""Rasterization as Taichi kernels on one CPU thread: what the C++ rasterizer is compared with.

The usual scheme of a graphics card: lists of ellipses for tiles of 16 px, a loop over the list for
each pixel, and the derivatives back to front. Taichi compiles it by LLVM for this processor. The
projection is taken from the C++ code, so the ratio is rather too small than too large.

Taichi is no requirement of this project: pip install taichi.
"""

import os

import torch

os.environ.setdefault('ENABLE_TAICHI_HEADER_PRINT', 'False')
import taichi as ti

TILE_PX = 16
LEAST_ALPHA, MOST_ALPHA, LEAST_TRANSMITTANCE = 1 / 255, 0.999, 1e-4

ti.init(arch=ti.cpu, cpu_max_num_threads=1, log_level=ti.WARN, offline_cache=False)

Reals = ti.types.ndarray(dtype=ti.f32)
Integers = ti.types.ndarray(dtype=ti.i32)


@ti.func
def sigma_of(ellipses: ti.template(), k, x, y):
    """Exponent of the ellipse at a pixel, and the offset from its centre, px."""
    dx, dy = x + 0.5 - ellipses[k, 0], y + 0.5 - ellipses[k, 1]
    sigma = 0.5 * (ellipses[k, 2] * dx * dx + ellipses[k, 4] * dy * dy) + ellipses[k, 3] * dx * dy
    return sigma, dx, dy


@ti.kernel
def draw(
    ellipses: Reals, begins: Integers, entries: Integers, columns: ti.i32,
    image: Reals, transmittance: Reals, lasts: Integers,
):  # fmt: skip
    """Fill image (H, W, 3), transmittance and the number of entries that were looked at."""
    for y, x in ti.ndrange(image.shape[0], image.shape[1]):
        tile = y // TILE_PX * columns + x // TILE_PX
        passed, color = 1.0, ti.Vector([0.0, 0.0, 0.0])
        entry = begins[tile]
        while entry < begins[tile + 1]:
            k = entries[entry]
            sigma, _, _ = sigma_of(ellipses, k, x, y)
            # most ellipses of a tile do not reach a pixel: no exponential for them
            if sigma <= ellipses[k, 9]:
                alpha = ti.min(ellipses[k, 8] * ti.exp(-sigma), MOST_ALPHA)
                after = passed * (1 - alpha)
                if after <= LEAST_TRANSMITTANCE:
                    break
                for c in ti.static(range(3)):
                    color[c] += alpha * passed * ellipses[k, 5 + c]
                passed = after
            entry += 1
        for c in ti.static(range(3)):
            image[y, x, c] = color[c]
        transmittance[y, x] = passed
        lasts[y, x] = entry


@ti.kernel
def draw_backward(
    ellipses: Reals, begins: Integers, entries: Integers, columns: ti.i32,
    transmittance: Reals, lasts: Integers, into_image: Reals, into_alpha: Reals, result: Reals,
):  # fmt: skip
    """Add the derivatives by each ellipse to result (N, 10); one thread, so without atomics."""
    ti.loop_config(serialize=True)
    for y in range(transmittance.shape[0]):
        for x in range(transmittance.shape[1]):
            tile = y // TILE_PX * columns + x // TILE_PX
            passed = transmittance[y, x]
            # what the light from behind is worth: only the share that nothing stops at first
            behind = -into_alpha[y, x] * passed
            entry = lasts[y, x] - 1
            while entry >= begins[tile]:
                k = entries[entry]
                sigma, dx, dy = sigma_of(ellipses, k, x, y)
                if sigma <= ellipses[k, 9]:
                    raw = ellipses[k, 8] * ti.exp(-sigma)
                    alpha = ti.min(raw, MOST_ALPHA)
                    passed /= 1 - alpha
                    worth = 0.0
                    for c in ti.static(range(3)):
                        worth += into_image[y, x, c] * ellipses[k, 5 + c]
                        result[k, 5 + c] = result[k, 5 + c] + alpha * passed * into_image[y, x, c]
                    by_alpha = passed * worth - behind / (1 - alpha)
                    behind += alpha * passed * worth
                    if raw < MOST_ALPHA:
                        xx, xy, yy = ellipses[k, 2], ellipses[k, 3], ellipses[k, 4]
                        by_sigma = -by_alpha * raw
                        result[k, 0] = result[k, 0] - by_sigma * (xx * dx + xy * dy)
                        result[k, 1] = result[k, 1] - by_sigma * (yy * dy + xy * dx)
                        result[k, 2] = result[k, 2] + 0.5 * by_sigma * dx * dx
                        result[k, 3] = result[k, 3] + by_sigma * dx * dy
                        result[k, 4] = result[k, 4] + 0.5 * by_sigma * dy * dy
                        result[k, 8] = result[k, 8] + by_alpha * raw / ellipses[k, 8]
                entry -= 1


def tile_lists(projection, pinhole) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Begins of the tiles' lists, ellipses in them front to back, and tiles in a row."""
    columns, rows = -(-pinhole.width // TILE_PX), -(-pinhole.height // TILE_PX)
    order = torch.argsort(projection.depths)
    order = order[projection.radii[order, 0] > 0]
    means, radii = projection.means2d[order], projection.radii[order]
    most = torch.tensor([columns, rows])
    first = torch.floor((means - radii) / TILE_PX).long().clamp(min=0).minimum(most)
    last = torch.ceil((means + radii) / TILE_PX).long().clamp(min=0).minimum(most)
    size = last - first
    count = size.prod(dim=1)
    owner = torch.repeat_interleave(count)
    number = torch.arange(len(owner)) - (count.cumsum(0) - count)[owner]
    wide = size[owner, 0]
    tiles = (first[owner, 1] + number // wide) * columns + first[owner, 0] + number % wide
    tiles, by_tile = torch.sort(tiles, stable=True)
    begins = torch.searchsorted(tiles, torch.arange(columns * rows + 1))
    return begins.int(), order[owner[by_tile]].int(), columns


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ellipses, lists, pinhole):
        ellipses = ellipses.detach()
        size = pinhole.height, pinhole.width
        image, transmittance = torch.empty(*size, 3), torch.empty(size)
        lasts = torch.empty(size, dtype=torch.int32)
        draw(ellipses, *lists, image, transmittance, lasts)
        ctx.save_for_backward(ellipses, transmittance, lasts)
        ctx.lists = lists
        return image, 1 - transmittance

    @staticmethod
    def backward(ctx, into_image, into_alpha):
        ellipses, transmittance, lasts = ctx.saved_tensors
        result = torch.zeros_like(ellipses)
        into = into_image.contiguous(), into_alpha.contiguous()
        draw_backward(ellipses, *ctx.lists, transmittance, lasts, *into, result)
        return result, None, None


def rasterize(projection, pinhole) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (H, W, 3) premultiplied by alpha and alpha (H, W) of a cpu_backend.Projection."""
    with torch.no_grad():
        lists = tile_lists(projection, pinhole)
    opacities = projection.opacities[:, None]
    largest_sigmas = torch.log(opacities.detach() / LEAST_ALPHA)
    ellipses = torch.cat(
        [projection.means2d, projection.conics, projection.colors, opacities, largest_sigmas],
        dim=1,
    )
    return _Rasterize.apply(ellipses, lists, pinhole)
