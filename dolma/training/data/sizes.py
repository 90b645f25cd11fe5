"""Sizes that grow while a stage begins, of batches and of sequences: pure functions of the step, as all of training."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

from dolma.training.config import Growth, GrowthConfig, TrainConfig


def grown(size: int, growth: Growth) -> list[tuple[int, int]]:
    """The steps, from 1 on, at which a size changes, and what it is from there on.

    At step `s` of a growth over `w` steps, it is the greatest doubling of `start` that is not above
    `start + (size - start) * s / w`: OLMo-core's rule for the lengths of sequences.

    >>> grown(16, GrowthConfig(start=4, steps=9))
    [(1, 4), (3, 8), (9, 16)]
    """
    if not isinstance(growth, GrowthConfig):
        return [(1, size)]
    start, steps = growth.start, growth.steps
    found = {1: start}
    for doubling in range(1, (size // start).bit_length()):
        value = start << doubling
        found[max(1, -(-(value - start) * steps // (size - start)))] = value
    return list(found.items())


class BatchSizes:
    """The windows of each step of a stage, counted from 1."""

    def __init__(self, size: int, growth: Growth = None) -> None:
        phases = grown(size, growth)
        self.least, self.most = phases[0][1], size
        self._firsts, self._sizes, self._before = [first for first, _ in phases], [n for _, n in phases], [0]
        for (first, n), (after, _) in pairwise(phases):
            self._before.append(self._before[-1] + (after - first) * n)

    def of(self, step: int) -> int:
        """The windows of a step."""
        return self._sizes[bisect_right(self._firsts, step) - 1]

    def until(self, step: int) -> int:
        """The windows of a step and of all before it; of step 0, none."""
        phase = bisect_right(self._firsts, max(1, step)) - 1
        return self._before[phase] + (step + 1 - self._firsts[phase]) * self._sizes[phase]

    def step_of(self, window: int) -> int:
        """The step that a window, counted from 0 in the order of the stage, is in."""
        phase = bisect_right(self._before, window) - 1
        return self._firsts[phase] + (window - self._before[phase]) // self._sizes[phase]

    def steps_for(self, windows: int) -> int:
        """The least number of steps that have so many windows, one at least.

        >>> sizes = BatchSizes(8, GrowthConfig(start=2, steps=3))
        >>> [sizes.of(step) for step in (1, 2, 3, 4)], [sizes.until(step) for step in (0, 1, 2, 3)]
        ([4, 4, 8, 8], [0, 4, 8, 16])
        >>> sizes.steps_for(9), sizes.step_of(8)
        (3, 3)
        """
        return self.step_of(max(1, windows) - 1)


def batch_sizes(config: TrainConfig) -> BatchSizes:
    """The windows of each step, by the settings of a stage."""
    return BatchSizes(config.batch_size, config.batch_size_warmup)


def length_at(config: TrainConfig, step: int) -> int:
    """Tokens of each sequence at a step of a stage; a window is cut into as many as it holds."""
    phases = grown(config.sequence_length, config.sequence_length_warmup)
    return next(length for first, length in reversed(phases) if first <= step)
