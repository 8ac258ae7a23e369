"""What `seg-models` and the package know about the registered networks."""

import json
import sys

import pytest
import torch
from click.testing import CliRunner

from seg_core.cli.models import models_command
from seg_core.errors import ConfigError, SpecError
from seg_core.models import MODELS, build_model, list_models
from seg_core.models.published_form import PUBLISHED
from seg_core.models.zoo import _WEIGHT_FILES, describe_model, list_options, load_proofs, parse_options
from seg_core.runners import RUNNERS
from seg_core.spec import ModelSpec


def run(*arguments):
    return CliRunner().invoke(models_command, list(arguments))


@pytest.fixture(scope="module")
def listed():
    done = run("list", "--json")
    assert done.exit_code == 0, done.output
    return {entry["name"]: entry for entry in json.loads(done.stdout)["models"]}


def test_list_names_every_registered_network(listed):
    assert list(listed) == list_models()
    text = run("list", "--size", "128x128").stdout.splitlines()
    assert [line.split()[0] for line in text[1 : 1 + len(listed)]] == list_models()


@pytest.mark.parametrize("name", list_models())
def test_every_network_has_a_paper_and_plausible_numbers(listed, name):
    facts = listed[name]
    assert facts["paper"].startswith("https://arxiv.org/abs/")
    assert facts["paper"] not in facts["summary"]
    assert 0 < facts["parameters"] < facts["training_parameters"] < 100e6
    assert 0.1 < facts["gmacs"] < 100
    assert facts["heads"][0] == "main"
    assert {"aux_head", "upsample"} <= {option["name"] for option in facts["options"]}


def test_numbers_are_those_of_the_exported_network(listed):
    network = build_model(ModelSpec("ddrnet_23_slim", 19)).main_only()
    assert listed["ddrnet_23_slim"]["parameters"] == sum(p.numel() for p in network.parameters())
    macs = 0

    def count(module, _inputs, output):
        nonlocal macs
        macs += output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, 256, 256))
    assert listed["ddrnet_23_slim"]["gmacs"] == pytest.approx(macs / 1e9, abs=1e-4)


def test_show_follows_size_options_and_aliases():
    arguments = ("--option", "encoder=mobilenet_v2", "--option", "atrous_rates=1,2", "--option", "upsample=false")
    done = run("show", "deeplabv3+", "--size", "128x64", "--json", *arguments)
    facts = json.loads(done.stdout)
    assert (facts["name"], facts["size_hw"], facts["output_stride"]) == ("deeplabv3plus", [128, 64], 4)
    assert facts["given"] == {"encoder": "mobilenet_v2", "atrous_rates": [1, 2], "upsample": False}
    assert facts["proofs"] == []
    assert facts["published"][0]["file"].startswith("mobilenet_v2-")
    text = run("show", "deeplabv3+", "--size", "128x64", *arguments).stdout
    assert "GMACs at 128×64" in text
    assert "given: 1,2" in text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("ddrnet_23_slm",), "unknown model 'ddrnet_23_slm'; did you mean 'ddrnet_23_slim'"),
        (("ddrnet_23", "--option", "aux_heads=true"), "no option 'aux_heads'; did you mean 'aux_head'"),
        (("ddrnet_23", "--option", "aux_head=1"), "option 'aux_head': expected true or false, found '1'"),
        (("deeplabv3plus", "--option", "atrous_rates=a"), "expected whole numbers such as 6,12,18, found 'a'"),
        (("ddrnet_23", "--size", "250x256"), "size 250x256 (height x width): DDRNet needs multiples of 8"),
        (("deeplabv3plus", "--option", "output_stride=12"), "cannot give output stride 12; use 8"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, line):
    done = run("show", *arguments)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert line in done.stderr


@pytest.mark.parametrize("arguments", [("show",), ("show", "ddrnet_23", "--size", "256"), ("list", "--option", "a=1"),
                                       ("show", "ddrnet_23", "--option", "upsample")])  # fmt: skip
def test_wrong_usage_exits_with_2(arguments):
    assert run(*arguments).exit_code == 2


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = run("list")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: describing networks needs the package 'torch'")
    assert "pip install 'segproof[torch]'" in done.stderr


def test_values_are_read_as_the_types_that_the_constructor_has():
    for name in list_models():
        defaults = {option.name: option.default for option in list_options(name)}
        texts = {
            key: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            for key, value in defaults.items()
        }
        assert parse_options(name, texts) == defaults
    with pytest.raises(ConfigError, match=r"expected a whole number, found '1\.5'"):
        parse_options("deeplabv3plus", {"neck_stacks": "1.5"})


def test_published_files_belong_to_published_forms():
    assert set(_WEIGHT_FILES) <= set(PUBLISHED) & set(MODELS)
    assert all(entry.origin.startswith("https://") for entry in describe_model(ModelSpec("bisenet_v2", 19)).published)


def test_proofs_are_of_known_models_and_targets():
    proofs = load_proofs()
    assert {proof.model for proof in proofs} <= set(list_models())
    assert {proof.target for proof in proofs} <= set(RUNNERS)
    assert all(proof.label_agreement > 0.99 for proof in proofs)


def test_damaged_proofs_are_named(tmp_path):
    path = tmp_path / "proven.json"
    for content, finding in (("{", "not valid JSON"), ('{"proofs": [], "schema_version": 9}', "this release reads 1")):
        path.write_text(content)
        with pytest.raises(SpecError, match=f"proven.json: .*{finding}"):
            load_proofs(path)
