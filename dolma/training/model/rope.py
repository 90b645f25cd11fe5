"""Rotary positions (Su et al. 2021, arXiv:2104.09864), half-split layout; angles and rotation in float32."""

from __future__ import annotations

import math

import torch

from dolma.training.config import ModelConfig, YarnConfig

Rotation = tuple[torch.Tensor, torch.Tensor]


def rotation(positions: torch.Tensor, *, head_width: int, theta: float, scaling: YarnConfig | None = None) -> Rotation:
    """Cosine and sine per position; float32, shape `(*positions.shape, head_width)`, frequencies twice side by side."""
    exponents = torch.arange(0, head_width, 2, dtype=torch.float32, device=positions.device) / head_width
    frequencies, scale = 1.0 / theta**exponents, 1.0
    if scaling is not None:
        frequencies, scale = _stretched(frequencies, theta=theta, scaling=scaling)
    angles = positions.float()[..., None] * frequencies
    doubled = torch.cat([angles, angles], dim=-1)
    return doubled.cos() * scale, doubled.sin() * scale


def rotations(config: ModelConfig, positions: torch.Tensor) -> tuple[Rotation, Rotation]:
    """Those of layers with full attention, stretched by YaRN if at all, and those of layers with a window."""
    width, theta = config.head_width, config.rope_theta
    plain = rotation(positions, head_width=width, theta=theta)
    if config.rope_scaling is None:
        return plain, plain
    return rotation(positions, head_width=width, theta=theta, scaling=config.rope_scaling), plain


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """`x` of shape `(batch, heads, length, head_width)` with each position turned by its angle, in the type of `x`."""
    wide = x.float()
    first, second = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat([-second, first], dim=-1) * sin).to(x.dtype)


def _stretched(frequencies: torch.Tensor, *, theta: float, scaling: YarnConfig) -> tuple[torch.Tensor, float]:
    """YaRN's frequencies, and the factor of cosines and sines (arXiv:2309.00071, sections 3.2 and 3.4).

    Frequencies of many rotations within the original context stay, those of few are divided by the factor, and
    between the two there is a ramp over the index of the pair. Its bounds are kept within 0 and the width of a head, as
    transformers does: for a tiny model and a short original context that may turn the ramp around.
    """
    pairs = len(frequencies)
    low = max(math.floor(_pair_of(scaling.beta_fast, pairs, theta, scaling.original_length)), 0)
    high = min(math.ceil(_pair_of(scaling.beta_slow, pairs, theta, scaling.original_length)), 2 * pairs - 1)
    index = torch.arange(pairs, dtype=torch.float32, device=frequencies.device)
    ramp = ((index - low) / (high - low or 0.001)).clamp(0, 1)
    stretched = frequencies / scaling.factor * ramp + frequencies * (1 - ramp)
    return stretched, attention_factor(scaling)


def attention_factor(scaling: YarnConfig) -> float:
    """What YaRN multiplies cosines and sines with: as given, else by the paper's formula.

    >>> attention_factor(YarnConfig(factor=8.0))
    1.2079441541679836
    """
    given = scaling.attention_factor
    return 0.1 * math.log(scaling.factor) + 1.0 if given is None else given


def _pair_of(rotations: float, pairs: int, theta: float, length: int) -> float:
    """The index of the pair of dimensions that turns so many times within `length` positions."""
    return 2 * pairs * math.log(length / (rotations * 2 * math.pi)) / (2 * math.log(theta))
