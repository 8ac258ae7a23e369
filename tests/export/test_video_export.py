"""A network with the previous mask as its fourth channel, through every target and back."""

import numpy as np
import pytest
import torch
from core_ai_platform import has_wheels, skip_without_wheels
from export_material import LABELS, SAMPLES, SIZE_HW, fill_weights

from seg_core.manifest import load_manifest
from seg_core.models import build_model
from seg_core.models.checkpoint import Checkpoint, save_checkpoint
from seg_core.predictor import Predictor
from seg_core.prior import even_values
from seg_core.spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, PostprocessSpec, PreprocessSpec
from seg_core.spec.preprocess import PRIOR_MEAN, PRIOR_STD
from seg_core.video import open_video
from seg_export.parity import Reference, load_samples
from seg_export.pipeline import Exporter
from seg_export.targets import get_target, list_targets
from seg_export.targets.torchscript import TorchScriptTarget

pytestmark = [pytest.mark.export, pytest.mark.slow]

FRAMES = 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "video.pth"
    spec = ModelSpec("ddrnet_23_slim", LABELS.num_classes, 4, {"aux_head": True, "upsample": True})
    network = build_model(spec)
    fill_weights(network, 0)
    preprocess = PreprocessSpec(
        SIZE_HW,
        mean=(*IMAGENET_MEAN, PRIOR_MEAN),
        std=(*IMAGENET_STD, PRIOR_STD),
        prior="previous_labels",
        prior_values=even_values(LABELS.num_classes),
    )
    save_checkpoint(path, Checkpoint(spec, preprocess, PostprocessSpec(), LABELS, network.state_dict()))
    return path


@pytest.fixture(scope="module")
def reference(checkpoint):
    return Reference(checkpoint, load_samples(SAMPLES)[:2])


@pytest.fixture(scope="module")
def exporter(reference, tmp_path_factory):
    return Exporter(reference, tmp_path_factory.mktemp("exported"), "fp32", "video")


@pytest.fixture(scope="module")
def exported(exporter):
    names = [name for name in list_targets() if name != "coreai" or has_wheels()]
    return {name: exporter.export(get_target(name)) for name in names}


@pytest.fixture(scope="module")
def frames():
    (clip,) = SAMPLES.glob("*.mp4")
    with open_video(clip) as video:
        return [frame for _, frame in zip(range(FRAMES), video, strict=False)]


@pytest.fixture(scope="module")
def expected(checkpoint, frames):
    return track(checkpoint, frames)


def track(path, frames):
    with Predictor.open(path, threads=1) as predictor:
        found = [predictor.track(frame) for frame in frames]
    assert [prediction.used_prior for prediction in found] == [False] + [True] * (len(frames) - 1)
    return np.stack([prediction.labels for prediction in found])


def test_parity_shows_sequences_whose_priors_are_answers(reference):
    runs = reference.runs()
    assert [run.sample.name for run in runs[:3]] == ["astronaut.png", "astronaut.png.frame2", "astronaut.png.frame3"]
    for run, before in zip(runs, [None, *runs], strict=False):
        assert run.tensor.shape == (1, 4, *SIZE_HW)
        if "frame" not in run.sample.name:
            assert run.prior is None
            assert not run.tensor[:, 3].any()
        else:
            np.testing.assert_array_equal(run.prior, before.logits.argmax(axis=0))
            assert len(np.unique(run.prior)) > 1
            assert (run.tensor[:, 3] > 0).all()


@pytest.mark.parametrize("name", list_targets())
def test_every_target_is_proved_on_sequences(name, exported, frames, expected):
    if name == "coreai":
        skip_without_wheels(name)
    result = exported[name]
    assert result.error is None
    assert result.status == "ok"
    assert len(result.parity.outputs[0].images) == 6
    assert result.parity.preprocessing_identical
    manifest = load_manifest(result.path)
    assert (manifest.preprocess.version, manifest.preprocess.prior) == (2, "previous_labels")
    assert manifest.preprocess.prior_values == even_values(LABELS.num_classes)
    assert 4 in manifest.inputs[0].shape
    # Fed by its own answers, too, it goes where the checkpoint goes.
    assert (track(result.path, frames) == expected).mean() > 0.999


def test_the_prior_matters_and_an_artifact_that_forgets_it_is_refused(exporter, exported):
    class Forgetful(TorchScriptTarget):
        def convert(self, request):
            class WithoutPrior(torch.nn.Module):
                def __init__(self, network):
                    super().__init__()
                    self.network = network

                def forward(self, image):
                    return self.network(torch.cat([image[:, :3], torch.zeros_like(image[:, 3:])], dim=1))

            return super().convert(type(request)(**{**vars(request), "module": WithoutPrior(request.module)}))

    result = exporter.export(Forgetful())
    assert result.status == "parity"
    passed = {image.image: image.passed for image in result.parity.outputs[0].images}
    assert passed["astronaut.png"]
    assert not passed["astronaut.png.frame2"]
