"""What tests of several rooms share: the bundled samples and a runner without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seg_core import LabelSet, PostprocessSpec, Predictor, PreprocessSpec, TensorSpec


@pytest.fixture(scope="session")
def samples_dir() -> Path:
    """The photographs and the clip that ship with the project."""
    return Path(__file__).parents[1] / "mobile_demo" / "samples"


class ColourRunner:
    """Give the colour channels back as scores, so that the class of a pixel is its strongest colour."""

    target = "fake"

    def __init__(self, size_hw: tuple[int, int]) -> None:
        shape = (1, 3, *size_hw)
        self.inputs = (TensorSpec("image", "image", shape, "float32", "nchw"),)
        self.outputs = (TensorSpec("logits", "logits", shape, "float32", "nchw"),)
        self.closed = False

    def run(self, feeds):
        (tensor,) = feeds.values()
        return {"logits": np.array(tensor)}

    def close(self) -> None:
        self.closed = True


COLOUR_LABELS = LabelSet(("red", "green", "blue"), ((0, 0, 0), (0, 255, 0), (0, 0, 255)))


@pytest.fixture
def colour_predictor() -> Predictor:
    """A predictor at 32x32 whose labels are 0 where red, 1 where green and 2 where blue is strongest."""
    spec = PreprocessSpec((32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    return Predictor(ColourRunner((32, 32)), spec, PostprocessSpec(), COLOUR_LABELS)
