"""Folders of transformers, read whole."""

from __future__ import annotations

import torch

from dolma.training.config import ModelConfig
from dolma.training.interop import hf


def read(folder: str) -> tuple[ModelConfig, int, dict[str, torch.Tensor]]:
    """The model, the rows of its vocabulary, and its weights by our names."""
    with hf.open_folder(folder) as found:
        return (
            found.model,
            found.rows,
            {name: stored.rows(0, stored.shape[0]) for name, stored in found.weights.items()},
        )
