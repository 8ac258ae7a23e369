"""`seg-data rename-checkpoint`: foreign files become ours once, or are refused with what differs."""

import json

import pytest
import torch
from click.testing import CliRunner

from seg_core.labels import CAMVID_11
from seg_core.models import build_model
from seg_core.models.checkpoint import build_network, load_checkpoint
from seg_core.spec import ModelSpec
from seg_train.data_cli import data_command
from seg_train.rename import KeyMap, plan_rename

SIZE = ("--size", "64x64")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return build_model(ModelSpec("ddrnet_23_slim", 11)).eval()


@pytest.fixture
def foreign(network, tmp_path):
    """The same weights with a renamed trunk and head, inside a wrapper and a trainer's module."""
    state = {}
    for key, value in network.state_dict().items():
        new = key.replace("conv1.0.", "stem.first.", 1) if key.startswith("conv1.0.") else key
        state[f"module.{new.replace('spp.', 'context.pool.', 1) if new.startswith('spp.') else new}"] = value
    path = tmp_path / "theirs.pth"
    torch.save({"model_state_dict": {**state, "module.metric.total": torch.ones(1)}}, path)
    return path


RULES = ("--prefix-map", "stem.first.=conv1.0.", "--prefix-map", "context.pool.=spp.", "--drop", "metric.")


def invoke(*arguments):
    return CliRunner().invoke(data_command, ["rename-checkpoint", *map(str, arguments)])


def error_line(result, code=1):
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.output
    return lines[0]


def test_the_renamed_file_is_a_checkpoint_of_ours_with_the_same_network(foreign, network, tmp_path):
    ours = tmp_path / "ours.pth"
    result = invoke(foreign, ours, *RULES, *SIZE, "--labels", "camvid_11", "--mean", "0.5", "--std", "0.25")
    assert result.exit_code == 0, result.output
    for words in ("289 of its 289 entries fit", "context.pool.scale0.0.weight → spp.scale0.0.weight", "metric.total"):
        assert words in result.stdout
    assert f"seg-export {ours}" in result.stdout
    loaded = load_checkpoint(ours)
    assert loaded.labels == CAMVID_11
    assert (loaded.preprocess.mean, loaded.preprocess.size_hw) == ((0.5,) * 3, (64, 64))
    assert loaded.provenance["source"] == "renamed state dict"
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(build_network(loaded)(image), network(image))


def test_a_dry_run_shows_what_differs_and_writes_nothing(foreign, tmp_path):
    ours = tmp_path / "ours.pth"
    result = invoke(foreign, ours, "--dry-run")
    line = error_line(result)
    for words in ("theirs.pth: does not fit ddrnet_23_slim", "lacks 'conv1.0.weight'", "unknown 'stem.first.weight'"):
        assert words in line
    assert "try           --prefix-map context.pool.=spp." in result.stdout
    assert not ours.exists()
    result = invoke(foreign, ours, *RULES, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "nothing written" in result.stdout
    assert not ours.exists()


def test_json_has_every_key(foreign, tmp_path):
    result = invoke(foreign, tmp_path / "ours.pth", *RULES, *SIZE, "--json")
    answer = json.loads(result.stdout)
    assert answer["fits"] is True
    assert answer["renamed"]["stem.first.weight"] == "conv1.0.weight"
    assert answer["left_out"] == ["metric.total"]
    assert answer["provenance"]["assumed"]["preprocess"] == "rgb with ImageNet statistics"
    answer = json.loads(invoke(foreign, tmp_path / "other.pth", "--json").stdout)
    assert (answer["fits"], answer["written"]) == (False, None)
    assert "spp.scale0.0.weight" in answer["missing"]


def test_rules_may_be_a_file_and_name_keys_as_the_file_has_them(foreign, tmp_path):
    rules = tmp_path / "keys.json"
    pairs = {f"module.stem.first.{name}": f"conv1.0.{name}" for name in ("weight", "bias")}
    rules.write_text(json.dumps({**pairs, "metric.total": None}))
    result = invoke(foreign, tmp_path / "ours.pth", "--map", rules, "--prefix-map", "module.context.pool.=spp.", *SIZE)
    assert result.exit_code == 0, result.output
    assert load_checkpoint(tmp_path / "ours.pth").model.name == "ddrnet_23_slim"


def test_the_longest_prefix_counts_and_whole_keys_come_first():
    rules = KeyMap({"a.b.c": "whole"}, {"a.": "short.", "a.b.": "long."}, ("a.b.d.",))
    assert [rules.apply(key, rules.rule_for(key)) for key in ("a.b.c", "a.b.x", "a.x", "a.b.d.x")] == [
        "whole", "long.x", "short.x", None,
    ]  # fmt: skip
    assert rules.rule_for("b.a.x") is None
    everything = KeyMap(prefixes={"": "around."})
    assert everything.apply("a.x", everything.rule_for("a.x")) == "around.a.x"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prefix-map", "typo.=conv1."), "the rule for 'typo.' matches no key"),
        (("--prefix-map", "layer3.=layer4."), "two keys of the file become"),
        (("--model", "ddrnet_23slim"), "did you mean"),
        (("--drop", ""), "no weight is left"),
        ((*RULES, "-o", "output_stride=8"), "no option 'output_stride'"),
        ((*RULES, "--labels", "cityscapes_19"), "19 names, but the model has 11"),
        ((*RULES, "--size", "65x64"), "needs multiples of 8"),
        ((*RULES, "--model", "ddrnet_23"), "does not fit ddrnet_23: "),
    ],
)
def test_every_mistake_is_one_line_and_writes_nothing(arguments, words, foreign, tmp_path):
    assert words in error_line(invoke(foreign, tmp_path / "ours.pth", *arguments))
    assert not (tmp_path / "ours.pth").exists()


@pytest.mark.parametrize("arguments", [("--prefix-map", "a"), ("--size", "5"), ("--mean", "0.5"), ("--mean", "a,b")])
def test_wrong_usage_exits_with_2(arguments, foreign, tmp_path):
    assert invoke(foreign, tmp_path / "ours.pth", *arguments).exit_code == 2


def test_an_auxiliary_head_never_becomes_the_main_one(network, tmp_path):
    state = {key: value for key, value in network.state_dict().items() if not key.startswith("final_layer.")}
    torch.save(state, tmp_path / "aux.pth")
    line = error_line(
        invoke(tmp_path / "aux.pth", tmp_path / "ours.pth", "--prefix-map", "seghead_extra.=final_layer.")
    )
    assert "'seghead_extra.bn1.weight' is an auxiliary head's" in line
    assert "main head 'final_layer' is missing" in error_line(invoke(tmp_path / "aux.pth", tmp_path / "ours.pth"))


def test_an_option_that_no_weight_tells_is_taken_from_the_user(tmp_path):
    state = build_model(ModelSpec("deeplabv3plus", 3, options={"decoder_channels": 32})).state_dict()
    torch.save(state, tmp_path / "lab.pth")
    result = invoke(tmp_path / "lab.pth", tmp_path / "o.pth", "-o", "output_stride=8", "-o", "atrous_rates=[2,3,4]")
    assert result.exit_code == 0, result.output
    options = load_checkpoint(tmp_path / "o.pth").model.options
    assert (options["output_stride"], options["atrous_rates"]) == (8, (2, 3, 4))


def test_our_own_file_and_the_source_itself_are_refused(foreign, tmp_path):
    ours = tmp_path / "ours.pth"
    assert invoke(foreign, ours, *RULES, *SIZE).exit_code == 0
    assert "one of our checkpoints already" in error_line(invoke(ours, tmp_path / "again.pth"))
    before = foreign.read_bytes()
    assert "is the source itself" in error_line(invoke(foreign, foreign, *RULES))
    assert foreign.read_bytes() == before
    assert "no such file" in error_line(invoke(tmp_path / "none.pth", ours))


def test_an_older_destination_stays_when_the_weights_do_not_fit(foreign, tmp_path):
    ours = tmp_path / "ours.pth"
    ours.write_bytes(b"older")
    error_line(invoke(foreign, ours))
    assert ours.read_bytes() == b"older"


def test_plan_names_the_nearest_architecture_where_none_is_given(foreign):
    plan = plan_rename(foreign, KeyMap())
    assert plan.fit.model.num_classes == 11
    assert not plan.fit.is_complete


def test_help_shows_examples():
    result = invoke("--help")
    assert result.exit_code == 0
    assert "--prefix-map backbone.=cp.resnet." in result.stdout
