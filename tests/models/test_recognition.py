"""Foreign state dicts: which family they are, what is taken off them, and what is refused with which words."""

import json

import pytest
import torch
from golden_weights import seeded_state

from seg_core.convention import StatedConvention, convention_options, provenance_lines
from seg_core.errors import CheckpointError, ConfigError
from seg_core.label_sets import load_labels
from seg_core.labels import CELEBAMASK_HQ, CITYSCAPES_19
from seg_core.models import MODELS, build_placeholder
from seg_core.models.bisenet_tasks import FACE_PARSING_19
from seg_core.models.checkpoint import build_network, load_checkpoint, save_checkpoint
from seg_core.models.foreign_state import WRAPPERS
from seg_core.models.published_form import PUBLISHED
from seg_core.spec import ModelSpec


def make_state(name, num_classes=19, in_channels=3, **options):
    state = build_placeholder(ModelSpec(name, num_classes, in_channels, options)).state_dict()
    return seeded_state({key: tuple(value.shape) for key, value in state.items()})


@pytest.fixture(scope="module")
def slim():
    return make_state("ddrnet_23_slim")


@pytest.fixture
def saved(tmp_path):
    def save(content):
        torch.save(content, tmp_path / "foreign.pth")
        return tmp_path / "foreign.pth"

    return save


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


def without(state, *prefixes):
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def refusal(path, stated=None):
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        load_checkpoint(path, stated)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text


@pytest.mark.parametrize("name", MODELS.names())
def test_every_registered_architecture_is_recognised_by_its_keys(name, saved):
    state = make_state(name, num_classes=7)
    loaded = load_checkpoint(saved({"state_dict": prefixed(state, "module.model.")}))
    expected = build_placeholder(ModelSpec(name, 7))
    found = build_network(loaded)
    assert type(found) is type(expected)
    assert loaded.model.num_classes == 7
    assert {key: value.shape for key, value in found.state_dict().items()} == {
        key: value.shape for key, value in expected.state_dict().items()
    }
    assert all(torch.equal(value, state[key]) for key, value in found.state_dict().items())
    assert (found.output_stride, found.size_divisor) == (expected.output_stride, expected.size_divisor)


@pytest.mark.parametrize("name", PUBLISHED.names())
def test_a_network_without_auxiliary_heads_is_recognised(name, saved):
    loaded = load_checkpoint(saved(make_state(name, aux_head=False)))
    assert PUBLISHED.get(name).model == loaded.model.name
    assert loaded.model.options["aux_head"] is False


@pytest.mark.parametrize("options", [{"encoder": "mobilenet_v3_small", "decoder_channels": 64}, {"scse": True}])
def test_the_options_of_deeplabv3plus_are_read_from_its_weights(options, saved):
    loaded = load_checkpoint(saved(make_state("deeplabv3plus", **options)))
    assert options.items() <= loaded.model.options.items()
    assert "output stride 16" in loaded.provenance["assumed"]["architecture"]


@pytest.mark.parametrize(
    ("name", "labels", "mean"),
    [
        ("ddrnet_23_slim", CITYSCAPES_19, (0.485, 0.456, 0.406)),
        ("bisenet_v1", CITYSCAPES_19, (0.3257, 0.3690, 0.3223)),
        ("bisenet_v2", CITYSCAPES_19, (0.3257, 0.3690, 0.3223)),
        ("bisenet_v1_face", FACE_PARSING_19, (0.485, 0.456, 0.406)),
    ],
)
def test_each_family_brings_the_convention_it_was_published_with(name, labels, mean, saved):
    loaded = load_checkpoint(saved(make_state(name)))
    assert loaded.labels == labels
    assert loaded.preprocess.mean == mean
    assert loaded.provenance["convention"]["mean"] == list(mean)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_is_opened(wrapper, slim, saved):
    loaded = load_checkpoint(saved({"epoch": 3, wrapper: slim, "optimizer": {"lr": 0.1}}))
    assert loaded.provenance["read_from"] == wrapper
    assert loaded.model.name == "ddrnet_23_slim"


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.", "_orig_mod.", "module.model.", "a.b.c."])
def test_whatever_was_put_around_the_network_is_taken_off(prefix, slim, saved):
    loaded = load_checkpoint(saved(prefixed(slim, prefix)))
    assert loaded.provenance["prefix"] == prefix
    assert set(loaded.state_dict) == set(slim)


@pytest.mark.parametrize("key", ["loss.weight", "criterion.weight", "criteria_pre.weight", "loss_fn.w", "n_averaged"])
def test_entries_of_the_loss_and_of_averaging_are_left_out(key, slim, saved):
    loaded = load_checkpoint(saved({**prefixed(slim, "module."), key: torch.ones(19)}))
    assert loaded.provenance["dropped"] == [key]


def test_averaged_weights_come_first_unless_they_are_none(slim, saved):
    other = {key: value + 1 for key, value in slim.items()}
    averaged = load_checkpoint(saved({"model": other, "ema": slim}))
    assert torch.equal(averaged.state_dict["conv1.0.weight"], slim["conv1.0.weight"])
    settings = load_checkpoint(saved({"model": slim, "ema": {"decay": 0.999, "updates": 7}}))
    assert settings.provenance["read_from"] == "model"


def test_an_unknown_network_gets_the_nearest_and_the_rule_that_would_help(slim, saved):
    state = {key.replace("layer", "stage"): value for key, value in slim.items()} | {"odd": torch.ones(1)}
    text = refusal(saved(state))
    assert "the nearest is ddrnet_23_slim: " in text
    assert "lacks 'layer1.0.conv1.weight' (and " in text
    assert "holds the unknown 'stage1.0.conv1.weight' (and " in text
    assert "seg-data rename-checkpoint FILE OURS.pth --model ddrnet_23_slim" in text
    assert "auxiliary" not in text  # "final_layer" has another name too, as the rest has
    moved = {key.replace("spp.", "pyramid.pooling."): value for key, value in slim.items()}
    assert "--prefix-map pyramid.pooling.=spp. --dry-run" in refusal(saved(moved))


def test_how_many_entries_fit_and_which_shape_differs_is_said(slim, saved):
    changed = {**slim, "layer3.0.conv1.weight": torch.zeros(3, 3, 3, 3)}
    text = refusal(saved(changed))
    assert "ddrnet_23_slim: 288 of its 289 entries fit" in text
    assert "has 'layer3.0.conv1.weight' of shape (3, 3, 3, 3) instead of (128, 64, 3, 3)" in text


def test_nothing_in_common_is_judged_by_shapes(saved):
    text = refusal(saved({"first.weight": torch.zeros(32, 3, 3, 3), "second.bias": torch.zeros(32)}))
    assert "the nearest (by 2 equal shapes alone) is " in text
    assert " 0 of its " in text


@pytest.mark.parametrize(
    ("name", "main", "auxiliary"),
    [
        ("ddrnet_23_slim", "final_layer", "seghead_extra"),
        ("bisenet_v1", "conv_out", "conv_out16"),
        ("bisenet_v1_face", "conv_out", "conv_out16"),
        ("bisenet_v2", "head", "aux2"),
        ("deeplabv3plus", "classifier", "aux"),
    ],
)
def test_the_auxiliary_head_alone_is_refused(name, main, auxiliary, saved):
    text = refusal(saved(without(make_state(name), f"{main}.")))
    assert f"main head {main!r} is missing while the auxiliary one {auxiliary!r}" in text
    assert text.endswith("save the whole network")


def test_a_main_head_under_another_name_is_told_the_rule(slim, saved):
    text = refusal(saved({key.replace("final_layer.", "decoder.scores."): value for key, value in slim.items()}))
    assert "main head 'final_layer' is missing" in text
    assert text.endswith("or map it: --prefix-map decoder.scores.=final_layer.")


def test_a_main_head_with_the_auxiliary_weights_is_refused(slim, saved):
    key = "conv2.weight"
    text = refusal(saved({**slim, f"final_layer.{key}": slim[f"seghead_extra.{key}"].clone()}))
    assert "'final_layer.conv2.weight' equals 'seghead_extra.conv2.weight'" in text


def test_fresh_heads_of_constants_are_no_copies(slim, saved):
    constant = {key: torch.zeros_like(slim[key]) for key in ("final_layer.conv2.weight", "seghead_extra.conv2.weight")}
    assert load_checkpoint(saved({**slim, **constant})).model.name == "ddrnet_23_slim"


def test_a_file_that_contains_itself_ends(saved):
    content = {"epoch": 3}
    content["model"] = content
    assert "holds no state dict" in refusal(saved(content))


def test_heads_that_are_not_dense_are_refused(slim, saved):
    key = "final_layer.conv2.weight"
    assert f"weight {key!r}: expected a dense tensor" in refusal(saved({**slim, key: slim[key].to_sparse()}))


def test_a_ddrnet_of_separable_convolutions_is_recognised(saved):
    loaded = load_checkpoint(saved(make_state("ddrnet_23_slim", separable=True)))
    assert loaded.model.options == {"aux_head": True, "upsample": True, "separable": True}


class Loader:
    """Would write a file if a reader executed it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_reading_executes_nothing(slim, saved, tmp_path):
    text = refusal(saved({"state_dict": slim, "trainer": Loader(tmp_path / "executed")}))
    assert "holds Python objects" in text
    assert not (tmp_path / "executed").exists()


def test_what_is_stated_stands_in_the_place_of_what_would_be_assumed(slim, saved):
    stated = StatedConvention((0.5,), (0.25,), "bgr", (64, 96), CELEBAMASK_HQ, "celebamask_hq")
    loaded = load_checkpoint(saved(slim), stated)
    spec = loaded.preprocess
    assert (spec.color, spec.mean, spec.std, spec.size_hw) == ("bgr", (0.5,) * 3, (0.25,) * 3, (64, 96))
    assert spec.scale == 1 / 255
    assert loaded.labels == CELEBAMASK_HQ
    assert loaded.provenance["assumed"] == {}
    assert loaded.provenance["stated"]["labels"] == "celebamask_hq"


def test_a_mean_above_one_counts_in_pixels_of_255(slim, saved):
    loaded = load_checkpoint(saved(slim), StatedConvention((104.0, 117.0, 123.0), (1.0,), "bgr"))
    assert (loaded.preprocess.scale, loaded.preprocess.std) == (1.0, (1.0, 1.0, 1.0))


def test_another_colour_order_turns_the_assumed_statistics_round(slim, saved):
    loaded = load_checkpoint(saved(slim), StatedConvention(color="bgr"))
    assert loaded.preprocess.mean == (0.406, 0.456, 0.485)
    assert loaded.preprocess.std == (0.225, 0.224, 0.229)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (StatedConvention(color="gray"), "--color gray: the network's first layer takes 3"),
        (StatedConvention((0.5, 0.5), (0.5,)), "--mean: expected 1 or 3 numbers"),
        (StatedConvention(labels=load_labels("camvid_11"), labels_from="camvid_11"), "11 names, but the model has 19"),
    ],
)
def test_statements_that_contradict_the_weights_are_refused(stated, words, slim, saved):
    assert words in refusal(saved(slim), stated)


@pytest.mark.parametrize(
    "values",
    [{"mean": (0.5,)}, {"std": (0.5,)}, {"mean": (0.5,), "std": (0.0,)}, {"mean": (float("nan"),), "std": (1.0,)}],
)
def test_half_a_normalisation_is_none(values):
    with pytest.raises(ConfigError, match=r"--mean|--std"):
        StatedConvention(**values)


def test_our_own_checkpoints_say_it_themselves(slim, saved, tmp_path):
    save_checkpoint(tmp_path / "ours.pth", load_checkpoint(saved(slim)))
    text = refusal(tmp_path / "ours.pth", StatedConvention((0.5,), (0.5,)))
    assert "leave out --mean" in text


def test_what_was_assumed_is_said_with_the_option_that_changes_it(slim, saved):
    lines = provenance_lines(load_checkpoint(saved(slim)).provenance)
    text = {value.partition(": ")[0]: value for heading, value in lines if heading == "assumed"}
    assert text["labels"] == (
        "labels: the 19 classes of Cityscapes, though celebamask_hq would fit too; change it by --labels"
    )
    assert "--mean, --std, --color" in text["preprocess"]
    assert "512×1024; change it by --size" in text["size_hw"]


def test_the_recorded_convention_turns_back_into_the_same_options(slim, saved):
    loaded = load_checkpoint(saved(slim), StatedConvention((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    options = convention_options(loaded.provenance["convention"])
    assert options == "--color rgb --mean 0.1,0.2,0.3 --std 0.4,0.5,0.6"


def test_labels_come_by_name_or_from_a_file(tmp_path):
    path = tmp_path / "names.json"
    path.write_text(json.dumps(["sky", "rest"]))
    assert load_labels("celebamask_hq") == CELEBAMASK_HQ
    assert load_labels(str(path)).names == ("sky", "rest")
    path.write_text(json.dumps({"names": ["sky", "rest"], "palette": [[0, 0, 9], [9, 0, 0]]}))
    assert load_labels(str(path)).palette == ((0, 0, 9), (9, 0, 0))


@pytest.mark.parametrize(("text", "words"), [("{", "not valid JSON"), ('["one"]', "two distinct"), ("3", "an object")])
def test_malformed_label_files_are_named(text, words, tmp_path):
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"--labels: .*names.json: .*{words}"):
        load_labels(str(path), "--labels")
    with pytest.raises(ConfigError, match=r"--labels: unknown label set 'cityscapes' \(built in: celebamask_hq"):
        load_labels("cityscapes", "--labels")
    with pytest.raises(ConfigError, match=r"--labels: .*none.json: cannot be read \(No such file or directory\)"):
        load_labels(str(tmp_path / "none.json"), "--labels")
