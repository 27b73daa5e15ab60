"""Slow reference of the renderer: every Gaussian at every pixel, float64, gradients by autograd.

Written from the definition (EWA splatting, front to back blending), with none of the rasterizer's
shortcuts: no tiles, no records, no hand-written derivatives.
"""

import math

import torch

ALPHA_LEAST, ALPHA_MOST, TRANSMITTANCE_LEAST = 1 / 255, 0.999, 1e-4


def rotation_matrices(quats):
    """(N, 3, 3) of quaternions (N, 4) wxyz of any length."""
    w, x, y, z = (quats / quats.norm(dim=1, keepdim=True)).unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def sh_basis(directions, degree):
    """Real spherical harmonics (N, K) of unit vectors (N, 3), with the signs that 3DGS uses."""
    x, y, z = directions.unbind(1)
    pi = math.pi
    basis = [torch.full_like(x, 0.5 / math.sqrt(pi))]
    if degree >= 1:
        c = math.sqrt(3 / (4 * pi))
        basis += [-c * y, c * z, -c * x]
    if degree >= 2:
        c = math.sqrt(15 / (4 * pi))
        basis += [c * x * y, -c * y * z, math.sqrt(5 / (16 * pi)) * (3 * z * z - 1), -c * x * z]
        basis += [c / 2 * (x * x - y * y)]
    if degree >= 3:
        c3, c2 = math.sqrt(35 / (32 * pi)), math.sqrt(105 / (4 * pi))
        c1, c0 = math.sqrt(21 / (32 * pi)), math.sqrt(7 / (16 * pi))
        basis += [-c3 * y * (3 * x * x - y * y), c2 * x * y * z, -c1 * y * (5 * z * z - 1)]
        basis += [c0 * z * (5 * z * z - 3), -c1 * x * (5 * z * z - 1)]
        basis += [c2 / 2 * z * (x * x - y * y), -c3 * x * (x * x - 3 * y * y)]
    return torch.stack(basis, dim=1)


def render(
    means, quats, scales, opacities, sh, viewmat, K, width, height, degree,
    background=None, antialiased=False, dilation=0.3,
):  # fmt: skip
    """RGB + depth (H, W, 4), alpha (H, W) and blending weights (H * W, N) in the order given."""
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    points = means @ rotation.T + translation
    x, y, z = points.unbind(1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [
            torch.stack([fx / z, zero, -fx * x / z**2], dim=1),
            torch.stack([zero, fy / z, -fy * y / z**2], dim=1),
        ],
        dim=1,
    )
    axes = jacobian @ rotation @ rotation_matrices(quats) @ torch.diag_embed(scales)
    sharp = axes @ axes.transpose(1, 2)
    covariance = sharp + dilation * torch.eye(2, dtype=means.dtype)
    if antialiased:
        ratio = torch.linalg.det(sharp) / torch.linalg.det(covariance)
        opacities = opacities * ratio.clamp(min=0).sqrt()
    conics = torch.linalg.inv(covariance)
    centers = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=1)
    directions = means + rotation.T @ translation
    directions = directions / directions.norm(dim=1, keepdim=True)
    bases = sh_basis(directions, degree)
    colors = (torch.einsum('nk,nkc->nc', bases, sh[:, : bases.shape[1]]) + 0.5).clamp(min=0)

    order = torch.argsort(z.detach(), stable=True)
    order = order[z[order] > 0]
    rows, columns = torch.meshgrid(
        torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing='ij'
    )
    pixels = torch.stack([columns, rows], dim=-1).reshape(-1, 1, 2).to(means.dtype)
    offset = centers[order] - pixels
    sigma = 0.5 * torch.einsum('pni,nij,pnj->pn', offset, conics[order], offset)
    alpha = (opacities[order] * torch.exp(-sigma)).clamp(max=ALPHA_MOST)
    alpha = torch.where(alpha >= ALPHA_LEAST, alpha, 0.0)
    with torch.no_grad():
        reached = torch.cumprod(1 - alpha, dim=1) > TRANSMITTANCE_LEAST
    alpha = alpha * reached
    passed = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha], dim=1), dim=1)
    weights = alpha * passed[:, :-1]
    values = torch.cat([colors, z[:, None]], dim=1)[order]
    image = weights @ values
    if background is not None:
        behind = torch.cat([background, background.new_zeros(1)])
        image = image + passed[:, -1:] * behind
    of_gaussian = torch.zeros_like(weights).index_copy(1, order, weights)
    return (
        image.reshape(height, width, 4),
        (1 - passed[:, -1]).reshape(height, width),
        of_gaussian if len(order) == len(means) else None,
    )
