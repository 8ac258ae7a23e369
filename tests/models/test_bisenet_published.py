"""Published BiSeNet state dicts: recognised by their keys, with the classes and the normalisation of their data set."""

import pytest
import torch
from face_parsing_reference import face_parsing_outputs, face_parsing_shapes
from golden_weights import published_shapes, seeded_image, seeded_state

from seg_core.errors import CheckpointError
from seg_core.labels import CELEBAMASK_HQ, CITYSCAPES_19
from seg_core.models import build_model
from seg_core.models.checkpoint import build_network, load_checkpoint, save_checkpoint
from seg_core.spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec

#: CelebAMask-HQ's attributes, by its own names, as the checkpoint's authors number them from 1 on.
FACE_ATTRIBUTES = [
    "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r",
    "nose", "mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
]  # fmt: skip

#: The same attributes in the order of CelebAMask-HQ's usual index masks, which is that of our label set.
USUAL_ATTRIBUTES = [
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
]  # fmt: skip


def _saved(tmp_path, content):
    torch.save(content, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def _built(name, num_classes=19, in_channels=3, **options):
    return build_model(ModelSpec(name, num_classes, in_channels, options)).state_dict()


@pytest.fixture(scope="module")
def face():
    return seeded_state(face_parsing_shapes())


@pytest.mark.parametrize(("golden", "name"), [("bisenetv1", "bisenet_v1"), ("bisenetv2", "bisenet_v2")])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_cityscapes_weights_are_taken_as_they_are(tmp_path, golden, name, prefix):
    state = seeded_state(published_shapes(golden))
    loaded = load_checkpoint(_saved(tmp_path, {prefix + key: value for key, value in state.items()}))
    assert loaded.model == ModelSpec(name, 19, 3, {"aux_head": True, "upsample": True})
    assert loaded.labels == CITYSCAPES_19
    assert loaded.preprocess.color == "rgb"
    assert (loaded.preprocess.mean, loaded.preprocess.std) == ((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115))
    assert loaded.provenance["origin"] == "https://github.com/CoinCheung/BiSeNet, MIT"
    assert loaded.provenance["assumed"] == {
        "preprocess": "rgb with the repository's own statistics of Cityscapes",
        "size_hw": [512, 1024],
        "labels": "the 19 classes of Cityscapes",
    }
    assert all(torch.equal(value, state[key]) for key, value in build_network(loaded).state_dict().items())


@pytest.mark.parametrize("name", ["bisenet_v1_resnet34", "bisenet_v2_large"])
def test_the_other_variants_are_told_apart(tmp_path, name):
    assert load_checkpoint(_saved(tmp_path, _built(name))).model.name == name


@pytest.mark.parametrize(
    ("num_classes", "dataset", "mean"),
    [(171, "COCO-Stuff", 0.46962251), (150, "ADE20K", 0.49343230), (7, "Cityscapes", 0.3257)],
)
def test_the_number_of_classes_tells_the_data_set(tmp_path, num_classes, dataset, mean):
    loaded = load_checkpoint(_saved(tmp_path, _built("bisenet_v2", num_classes, aux_head=False)))
    assert loaded.model.options["aux_head"] is False
    assert loaded.preprocess.mean[0] == mean
    assert loaded.labels.names[-1] == f"class_{num_classes - 1}"
    assert loaded.provenance["assumed"]["preprocess"].endswith(f"statistics of {dataset}")
    assert loaded.provenance["assumed"]["labels"] == "numbered names"


def test_gray_images_get_the_mean_of_the_statistics(tmp_path):
    loaded = load_checkpoint(_saved(tmp_path, _built("bisenet_v2", 2, 1)))
    assert loaded.preprocess.color == "gray"
    assert loaded.preprocess.mean == pytest.approx((0.339,))


def test_the_face_parsing_checkpoint_is_recognised(tmp_path, face):
    loaded = load_checkpoint(_saved(tmp_path, face))
    assert loaded.model == ModelSpec(
        "bisenet_v1_face", 19, 3, {"aux_head": True, "upsample": True, "align_corners": True}
    )
    assert loaded.preprocess.size_hw == (512, 512)
    assert loaded.preprocess.color == "rgb"
    assert (loaded.preprocess.mean, loaded.preprocess.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert loaded.provenance["origin"] == "https://github.com/zllrunning/face-parsing.PyTorch, MIT"
    assert loaded.provenance["assumed"]["labels"] == "the 19 classes of CelebAMask-HQ"
    image = seeded_image(64, 64)
    with torch.inference_mode():
        found, wanted = build_network(loaded)(image), face_parsing_outputs(face, image)[0]
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_face_classes_are_in_the_checkpoints_own_order(tmp_path, face):
    labels = load_checkpoint(_saved(tmp_path, face)).labels
    assert labels.names[0] == "background"
    assert labels.names != CELEBAMASK_HQ.names
    for index, attribute in enumerate(FACE_ATTRIBUTES, start=1):
        usual = 1 + USUAL_ATTRIBUTES.index(attribute)
        assert labels.names[index] == CELEBAMASK_HQ.names[usual]
        assert labels.palette[index] == CELEBAMASK_HQ.palette[usual]
    assert {tuple(labels.names[index] for index in pair) for pair in labels.flip_pairs} == {
        ("left_brow", "right_brow"), ("left_eye", "right_eye"), ("left_ear", "right_ear")
    }  # fmt: skip


def test_the_face_parsing_checkpoint_can_be_saved_as_one_of_ours(tmp_path, face):
    loaded = load_checkpoint(_saved(tmp_path, face))
    save_checkpoint(tmp_path / "ours.pth", loaded)
    again = load_checkpoint(tmp_path / "ours.pth")
    assert (again.model, again.labels, again.preprocess) == (loaded.model, loaded.labels, loaded.preprocess)


def test_a_face_parser_of_other_classes_has_numbered_names(tmp_path):
    loaded = load_checkpoint(_saved(tmp_path, seeded_state(face_parsing_shapes(num_classes=11))))
    assert loaded.labels.names == tuple(f"class_{index}" for index in range(11))
    assert loaded.preprocess.size_hw == (512, 512)


def test_half_an_auxiliary_head_is_missed(tmp_path, face):
    broken = {key: value for key, value in face.items() if not key.startswith("conv_out32.")}
    with pytest.raises(CheckpointError, match=r"nearest is bisenet_v1_face\b.*'?conv_out32\.conv\.conv\.weight"):
        load_checkpoint(_saved(tmp_path, broken))


def test_the_spatial_path_decides_between_the_first_versions(tmp_path, face):
    state = seeded_state(published_shapes("bisenetv1"))
    without_path = {key: value for key, value in state.items() if not key.startswith("sp.")}
    with pytest.raises(CheckpointError, match=r"a state dict of no known architecture"):
        load_checkpoint(_saved(tmp_path, without_path))
