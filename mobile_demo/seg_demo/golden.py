"""What the page must find on a drawn picture before it trusts a backend, computed here by the Python runtime."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seg_core.manifest import Manifest
from seg_core.postprocessing import Postprocessor
from seg_core.preprocessing import Preprocessor
from seg_core.runners import Runner, open_runner

UInt8 = npt.NDArray[np.uint8]

#: Small, so that the contract's own resize makes a smooth picture of it. `web/src/protocol.js` has the same.
SEED, SOURCE_HW = 20, (12, 9)

#: Seeds that are tried, and the share of one class beyond which labels tell nothing: a runtime that gives
#: the same class everywhere must not reach the page's LEAST_AGREEMENT. `web/src/protocol.js` has the same share.
SEEDS, LARGEST_SHARE = range(SEED, SEED + 8), 0.95


def draw_picture(seed: int, size_hw: tuple[int, int]) -> UInt8:
    """Return BGR uint8 (H, W, 3) by the generator of the golden vectors (`mobile_demo/vectors`)."""
    state, drawn = seed, []
    for _ in range(size_hw[0] * size_hw[1] * 3):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        drawn.append(state >> 24)
    return np.array(drawn, np.uint8).reshape(*size_hw, 3)


def hash_bytes(data: bytes) -> str:
    """Return the 64-bit FNV-1a hash as 16 hexadecimal digits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def compute_golden(artifact: Path, manifest: Manifest) -> str:
    """Return JSON: a picture's seed and size, its tensor's hash, and base64 of the labels at network size.

    The picture is the first of a few of which no class fills `LARGEST_SHARE`, and where there is none, the first: the
    page then says that labels prove nothing. Raises ArtifactError when the artifact does not run,
    MissingDependencyError when its runtime is not installed.
    """
    runner = open_runner(artifact, manifest)
    try:
        first = _label(runner, manifest, SEED)
        others = (_label(runner, manifest, seed) for seed in SEEDS[1:])
        telling = (found for found in itertools.chain([first], others) if tells_something(found[2]))
        seed, tensor, labels = next(telling, first)
    finally:
        runner.close()
    little_endian = np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<"))
    golden = {
        "seed": seed,
        "source_hw": SOURCE_HW,
        "tensor_fnv1a64": hash_bytes(little_endian.tobytes()),
        "labels": base64.b64encode(labels.tobytes()).decode(),
    }
    return json.dumps(golden)


def tells_something(labels: UInt8) -> bool:
    """Return whether labels that a runtime gives right are told apart from one class everywhere."""
    return bool(np.bincount(labels.ravel()).max() <= LARGEST_SHARE * labels.size)


def _label(runner: Runner, manifest: Manifest, seed: int) -> tuple[int, npt.NDArray[Any], UInt8]:
    tensor, geometry = Preprocessor(manifest.preprocess)(draw_picture(seed, SOURCE_HW))
    outputs = runner.run({manifest.inputs[0].name: tensor})
    output = manifest.outputs[0]
    labels = Postprocessor(manifest.postprocess).network_labels(outputs[output.name], output, geometry)
    return seed, tensor, labels
