"""Published state dicts: taken as they are, and what was assumed is said."""

import pytest
import torch
from golden_weights import published_shapes, seeded_state

from seg_core.errors import CheckpointError
from seg_core.labels import CITYSCAPES_19
from seg_core.models import build_model
from seg_core.models.checkpoint import build_network, load_checkpoint, save_checkpoint
from seg_core.spec import ModelSpec


@pytest.fixture(scope="module")
def slim():
    return seeded_state(published_shapes("ddrnet_23_slim"))


def _saved(tmp_path, content):
    torch.save(content, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def _prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("name", ["ddrnet_23_slim", "ddrnet_23"])
def test_a_bare_state_dict_is_recognised(tmp_path, name):
    state = seeded_state(published_shapes(name))
    loaded = load_checkpoint(_saved(tmp_path, state))
    assert loaded.model == ModelSpec(name, 19, 3, {"aux_head": True, "upsample": True})
    assert loaded.labels == CITYSCAPES_19
    assert loaded.preprocess.size_hw == (512, 1024)
    assert loaded.preprocess.color == "rgb"
    assert loaded.provenance["source"] == "published state dict"
    assert loaded.provenance["assumed"]["labels"] == "the 19 classes of Cityscapes"
    network = build_network(loaded)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_ddrnet_39_is_recognised(tmp_path):
    state = build_model(ModelSpec("ddrnet_39", 19)).state_dict()
    loaded = load_checkpoint(_saved(tmp_path, _prefixed(state, "model.")))
    assert loaded.model.name == "ddrnet_39"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": _prefixed(state, "module.")},
        lambda state: {"model_state": _prefixed(state, "net.")},
        lambda state: {"ema": {"state_dict": state}, "model": {"other": torch.zeros(1)}},
        lambda state: {**_prefixed(state, "model."), "loss.criterion.weight": torch.ones(19)},
        lambda state: {**_prefixed(state, "module.model."), "module.criterion.weight": torch.ones(19)},
        lambda state: {**state, "epoch": 3},
    ],
    ids=["state_dict", "model+module", "model_state+net", "ema", "model+loss", "module.model+criterion", "epoch"],
)
def test_wrappers_prefixes_and_losses_are_taken_off(tmp_path, slim, wrap):
    loaded = load_checkpoint(_saved(tmp_path, wrap(slim)))
    assert loaded.model.name == "ddrnet_23_slim"
    assert all(torch.equal(loaded.state_dict[key], value) for key, value in slim.items())


def test_what_was_taken_off_is_in_the_provenance(tmp_path, slim):
    content = {"state_dict": {**_prefixed(slim, "model."), "loss.criterion.weight": torch.ones(19)}}
    provenance = load_checkpoint(_saved(tmp_path, content)).provenance
    assert provenance["read_from"] == "state_dict"
    assert provenance["dropped"] == ["loss.criterion.weight"]


def test_a_network_without_auxiliary_head_and_with_other_classes(tmp_path):
    spec = ModelSpec("ddrnet_23_slim", 11, 1, {"aux_head": False, "upsample": True})
    loaded = load_checkpoint(_saved(tmp_path, build_model(spec).state_dict()))
    assert loaded.model == spec
    assert loaded.labels.names[:2] == ("class_0", "class_1")
    assert loaded.preprocess.color == "gray"


def test_half_weights_and_absent_batch_counters(tmp_path, slim):
    old = {key: value.half() for key, value in slim.items() if not key.endswith("num_batches_tracked")}
    loaded = load_checkpoint(_saved(tmp_path, old))
    assert loaded.state_dict["conv1.0.weight"].dtype == torch.float32
    assert int(loaded.state_dict["conv1.1.num_batches_tracked"]) == 0


def test_it_can_be_saved_as_one_of_ours(tmp_path, slim):
    loaded = load_checkpoint(_saved(tmp_path, slim))
    save_checkpoint(tmp_path / "ours.pth", loaded)
    again = load_checkpoint(tmp_path / "ours.pth")
    assert (again.model, again.labels, again.provenance) == (loaded.model, loaded.labels, loaded.provenance)


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ({"epoch": 3}, r"holds no state dict .*save model.state_dict\(\)"),
        ([torch.zeros(1)], "holds no state dict"),
        (torch.zeros(1), "holds no state dict"),
        ({"backbone.weight": torch.zeros(3)}, "no known architecture; the nearest .*lacks .*unknown 'backbone.weight'"),
    ],
)
def test_what_holds_no_known_network_is_refused(tmp_path, content, pattern):
    with pytest.raises(CheckpointError, match=rf"published.pth: .*{pattern}"):
        load_checkpoint(_saved(tmp_path, content))


def test_a_damaged_state_dict_names_the_nearest_architecture_and_what_differs(tmp_path):
    state = seeded_state(published_shapes("ddrnet_23"))
    del state["layer5.0.conv2.weight"]
    state["odd.weight"] = torch.zeros(1)
    pattern = "the nearest is ddrnet_23: 288 of its 289 .*lacks 'layer5.0.conv2.weight', holds the unknown 'odd.weight'"
    with pytest.raises(CheckpointError, match=pattern):
        load_checkpoint(_saved(tmp_path, state))


def test_four_channels_have_no_preprocessing_contract(tmp_path):
    state = build_model(ModelSpec("ddrnet_23_slim", 2, 4)).state_dict()
    with pytest.raises(CheckpointError, match=r"published.pth: takes 4 channels; images have 3"):
        load_checkpoint(_saved(tmp_path, state))


def test_weights_that_are_not_finite_are_refused(tmp_path, slim):
    broken = {**slim, "conv1.0.bias": torch.full_like(slim["conv1.0.bias"], float("nan"))}
    with pytest.raises(CheckpointError, match=r"weight 'conv1.0.bias' holds NaN or Inf"):
        load_checkpoint(_saved(tmp_path, broken))
