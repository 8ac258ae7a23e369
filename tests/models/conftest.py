import pytest
import torch
from torch_threads import one_thread

from seg_core.labels import LabelSet
from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec


@pytest.fixture(scope="session")
def checkpoint():
    torch.manual_seed(0)
    model = ModelSpec("ddrnet_23_slim", 3, 3, {"aux_head": True, "upsample": True})
    return Checkpoint(
        model=model,
        preprocess=PreprocessSpec(size_hw=(64, 64)),
        postprocess=PostprocessSpec(),
        labels=LabelSet(("background", "skin", "hair")),
        state_dict=build_model(model).state_dict(),
        metrics={"miou": 0.5},
        provenance={"recipe": "test"},
    )


@pytest.fixture(scope="session")
def saved(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "net.pth"
    save_checkpoint(path, checkpoint)
    return path


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    with one_thread():
        yield
