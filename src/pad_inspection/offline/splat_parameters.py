"""The Gaussians while they are fitted: raw parameters, their optimiser, and growing and pruning.

Lengths are in units of the object's radius about its centre, so that learning rates and limits do
not depend on the size of the object.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch

from pad_inspection.datatypes import Gaussians

SH_DC = 0.28209479177387814
# A split Gaussian's halves are smaller by this (Kerbl et al. 2023, section 5.2).
_SPLIT_SHRINK = 1.6
_START_OPACITY = 0.2
_NEIGHBOURS = 3
# Learning rates in units of the object's radius; the one of the means falls to 1%.
LEARNING_RATES = {
    'means': 8e-4,
    'scales': 1e-2,
    'quats': 2e-3,
    'opacities': 4e-2,
    'sh0': 8e-3,
    'shN': 7e-4,
}


# Pull of the view-dependent colours to 0, in units of their learning rate: few views say how a
# place shines, and what they do not say should not be guessed.
_SH_DECAY = 1.0


class SplatParameters:
    """Raw parameters (log scales, logit opacities) with one Adam over all of them."""

    def __init__(self, values: dict[str, torch.Tensor]):
        """Take the raw tensors: means, scales, quats, opacities, sh0 (N,1,3), shN (N,K-1,3)."""
        self._values = {k: torch.nn.Parameter(v.contiguous()) for k, v in values.items()}
        self._adam = torch.optim.AdamW(
            [
                {
                    'params': [parameter],
                    'lr': LEARNING_RATES[name],
                    'weight_decay': _SH_DECAY if name == 'shN' else 0.0,
                    'name': name,
                }
                for name, parameter in self._values.items()
            ],
            eps=1e-15,
            fused=True,
        )

    @classmethod
    def from_points(
        cls, points: np.ndarray, colors: np.ndarray, sh_degree: int, device: str
    ) -> SplatParameters:
        """One round Gaussian for each point.

        Args:
            points: (N, 3), normalised.
            colors: (N, 3), 0 to 1.
            sh_degree: of the colours.
            device: torch device.
        """
        from scipy.spatial import cKDTree

        n = len(points)
        distances, _ = cKDTree(points).query(points, min(_NEIGHBOURS + 1, n))
        spacing = distances[:, 1:].mean(axis=1) if n > 1 else np.full(n, 0.1)
        spacing = np.clip(spacing, 1e-3, 0.1)

        def tensor(array) -> torch.Tensor:
            return torch.as_tensor(np.asarray(array, np.float32), device=device)

        quats = np.zeros((n, 4))
        quats[:, 0] = 1
        return cls(
            {
                'means': tensor(points),
                'scales': tensor(np.log(spacing)[:, None].repeat(3, axis=1)),
                'quats': tensor(quats),
                'opacities': tensor(np.full(n, math.log(_START_OPACITY / (1 - _START_OPACITY)))),
                'sh0': tensor((colors - 0.5) / SH_DC)[:, None],
                'shN': tensor(np.zeros((n, (sh_degree + 1) ** 2 - 1, 3))),
            }
        )

    def __len__(self) -> int:
        return len(self._values['means'])

    @property
    def means(self) -> torch.Tensor:
        """(N, 3), normalised, without gradient."""
        return self._values['means'].detach()

    @property
    def opacities(self) -> torch.Tensor:
        """(N,), 0 to 1, without gradient."""
        return torch.sigmoid(self._values['opacities'].detach())

    @property
    def largest_scales(self) -> torch.Tensor:
        """(N,), longest standard deviation, normalised, without gradient."""
        return torch.exp(self._values['scales'].detach().amax(dim=1))

    def activated(self) -> tuple[torch.Tensor, ...]:
        """means, quats, scales, opacities, sh for the renderer, with gradients."""
        v = self._values
        return (
            v['means'],
            v['quats'],
            torch.exp(v['scales']),
            torch.sigmoid(v['opacities']),
            torch.cat([v['sh0'], v['shN']], dim=1),
        )

    def step(self, means_rate: float) -> None:
        """One step of Adam; ``means_rate`` multiplies the learning rate of the means."""
        for group in self._adam.param_groups:
            if group['name'] == 'means':
                group['lr'] = LEARNING_RATES['means'] * means_rate
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)

    def not_finite(self) -> list[str]:
        """Names of the parameters that hold NaN or infinity."""
        return [k for k, v in self._values.items() if not torch.isfinite(v.detach()).all()]

    @torch.no_grad()
    def grow(self, chosen: torch.Tensor, split_above: float, generator: torch.Generator) -> None:
        """Add Gaussians where the chosen ones do not suffice.

        Args:
            chosen: int64 (M,), indices.
            split_above: Gaussians longer than this are split in two, smaller ones are cloned.
            generator: where the halves are put.

        Source: Kerbl et al. (2023), 3D Gaussian Splatting, section 5.2.
        """
        splits = self.largest_scales[chosen] > split_above
        cloned, split = chosen[~splits], chosen[splits]
        halves = {name: value.detach()[split] for name, value in self._values.items()}
        axes = _rotations(halves['quats']) * torch.exp(halves['scales'])[:, None, :]
        offset = torch.randn(len(split), 3, generator=generator).to(axes.device)
        shift = torch.einsum('nij,nj->ni', axes, offset)
        halves['scales'] = halves['scales'] - math.log(_SPLIT_SHRINK)
        added = {}
        for name, value in self._values.items():
            second = halves[name] - shift if name == 'means' else halves[name]
            added[name] = torch.cat([value.detach()[cloned], second])
        self._values['means'][split] += shift
        self._values['scales'][split] = halves['scales']
        for name, value in self._values.items():
            self._replace(name, torch.cat([value.detach(), added[name]]), None)

    @torch.no_grad()
    def keep(self, kept: torch.Tensor) -> None:
        """Drop all Gaussians but those of the bool mask (N,)."""
        indices = torch.nonzero(kept)[:, 0]
        for name, value in self._values.items():
            self._replace(name, value.detach()[indices], indices)

    def _replace(self, name: str, value: torch.Tensor, kept: torch.Tensor | None) -> None:
        """Put a longer or shorter tensor in a parameter's place, with Adam's moments.

        Args:
            name: of the parameter.
            value: the new tensor.
            kept: indices of what is kept, None = the new rows come last and start without moment.
        """
        old = self._values[name]
        new = torch.nn.Parameter(value.contiguous())
        state = self._adam.state.pop(old, None)
        for group in self._adam.param_groups:
            if group['name'] == name:
                group['params'] = [new]
        self._values[name] = new
        if not state:
            return
        for moment in ('exp_avg', 'exp_avg_sq'):
            if kept is None:
                fresh = torch.zeros_like(value)
                fresh[: len(old)] = state[moment]
            else:
                fresh = state[moment][kept].contiguous()
            state[moment] = fresh
        self._adam.state[new] = state

    def state(self) -> dict:
        """All that is needed to go on later."""
        return {
            'values': {k: v.detach().clone() for k, v in self._values.items()},
            'adam': copy.deepcopy(self._adam.state_dict()),
        }

    @classmethod
    def from_state(cls, state: dict) -> SplatParameters:
        """Inverse of ``state``."""
        parameters = cls(state['values'])
        parameters._adam.load_state_dict(state['adam'])
        return parameters

    @torch.no_grad()
    def to_gaussians(self, center: np.ndarray, radius: float) -> Gaussians:
        """The model in metres.

        Args:
            center: (3,) m, of the normalisation.
            radius: m, of the normalisation.
        """
        means, quats, scales, opacities, sh = (t.cpu().numpy() for t in self.activated())
        return Gaussians(
            means=means.astype(np.float64) * radius + center,
            quats=quats / np.linalg.norm(quats, axis=1, keepdims=True),
            scales=scales * radius,
            opacities=opacities,
            sh=sh,
        )


def _rotations(quats: torch.Tensor) -> torch.Tensor:
    """(N, 3, 3) of quaternions (N, 4) wxyz of any length."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1).unbind(1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    return torch.stack(rows, dim=1)
