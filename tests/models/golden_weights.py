"""Seeded weights and inputs under which the published networks were recorded in tests/golden."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def seeded_entry(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """One state-dict entry, a function of its published key and shape alone."""
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    if key.endswith("running_var"):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    noise = generator.standard_normal(shape)
    if key.endswith("running_mean"):
        return (0.1 * noise).astype(np.float32)
    if len(shape) < 2:
        return (float(key.endswith("weight")) + 0.1 * noise).astype(np.float32)
    return (np.sqrt(2.0 / np.prod(shape[1:])) * noise).astype(np.float32)


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    entries = json.loads((GOLDEN / f"{name}.keys.json").read_text())
    return {key: tuple(shape) for key, shape in entries.items()}


def seeded_state(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(np.asarray(seeded_entry(key, shape))) for key, shape in shapes.items()}


def seeded_image(height: int = 128, width: int = 192, channels: int = 3) -> torch.Tensor:
    values = np.random.default_rng(7).standard_normal((1, channels, height, width))
    return torch.from_numpy(values.astype(np.float32))
