import pytest

from seg_core.config.loader import load_train_config
from seg_core.errors import ConfigError
from seg_core.models import build_model
from seg_core.spec import ModelSpec
from seg_train.build import stored_spec

MINIMAL = "data:\n  train: a\n  val: b\n"


def write(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_overrides_reach_nested_keys_and_keep_types(tmp_path):
    config = load_train_config(
        write(tmp_path, MINIMAL), ("solver.steps=7", "solver.lr=1e-3", "preprocess.size_hw=[64, 128]")
    )
    assert (config.solver.steps, config.solver.lr, config.preprocess.size_hw) == (7, 1e-3, (64, 128))


def test_model_options_may_be_lists_of_whole_numbers(tmp_path):
    config = load_train_config(
        write(tmp_path, MINIMAL), ("model.options={encoder: resnet18, atrous_rates: [1, 2], scse: true, scale: 2.0}",)
    )
    assert config.model.options == {"encoder": "resnet18", "atrous_rates": (1, 2), "scse": True, "scale": 2.0}
    assert [type(value) for value in config.model.options.values()] == [str, tuple, bool, float]


def test_numbers_with_an_exponent_are_numbers_wherever_they_stand(tmp_path):
    text = MINIMAL + "solver: {lr: 1e-3, warmup_lr: 1E-5}\nmodel: {options: {dropout: 1e-1, tag: '1e-1', name: e3}}\n"
    config = load_train_config(write(tmp_path, text), ("solver.weight_decay=5e-4",))
    assert (config.solver.lr, config.solver.warmup_lr, config.solver.weight_decay) == (1e-3, 1e-5, 5e-4)
    assert config.model.options == {"dropout": 0.1, "tag": "1e-1", "name": "e3"}


def test_off_is_a_word_where_a_word_is_wanted(tmp_path):
    text = MINIMAL + "  cache: off\nsolver: {compile: off}\n"
    config = load_train_config(write(tmp_path, text))
    assert (config.solver.compile, config.data.cache) == ("off", False)
    assert load_train_config(write(tmp_path, MINIMAL), ("solver.compile=off",)).solver.compile == "off"


def test_options_of_the_compiler_are_given_one_by_one(tmp_path):
    text = MINIMAL + "solver: {compile_options: {combo_kernels: true}}\n"
    config = load_train_config(write(tmp_path, text), ("solver.compile_options.unroll_reductions_threshold=8",))
    assert config.solver.compile_options == {"combo_kernels": True, "unroll_reductions_threshold": 8}
    assert config.solver.compile_options["combo_kernels"] is True


def test_a_key_given_twice_names_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"run\.yaml: not valid YAML \(line 6: the key 'lr' is there twice; keep one"):
        load_train_config(write(tmp_path, MINIMAL + "solver:\n  lr: 1\n  lr: 2\n"))


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (MINIMAL + "sovler: {}\n", (), "sovler: unknown key; did you mean 'solver'?"),
        (MINIMAL, ("solver.step=3",), "solver.step: unknown key; did you mean 'steps'?"),
        (MINIMAL, ("solver.steps=many",), "solver.steps: "),
        (MINIMAL, ("solver.steps=0",), "solver.steps: "),
        (MINIMAL, ("solver.precision=fp8",), "solver.precision: "),
        (MINIMAL, ("solver.exchange=bf17",), "solver.exchange: Input should be 'fp32' or 'bf16'; found 'bf17'"),
        (MINIMAL, ("solver.exchang=bf16",), "solver.exchang: unknown key; did you mean 'exchange'?"),
        (MINIMAL, ("solver",), "expected KEY=VALUE"),
        (MINIMAL, ("solver.=1",), "expected KEY=VALUE"),
        (MINIMAL, ("solver.lr=[",), "the value is not valid YAML"),
        (MINIMAL + "solver: {compile: maybe}\n", (), "solver.compile: "),
        (MINIMAL, ("data.train.x=1",), "'train' is a value"),
        (MINIMAL, ("augment.scale=[2, 1]",), "runs backwards"),
        (MINIMAL, ("loss={cross_entropy: 0, dice: 0}",), "nothing would be learnt"),
        ("solver: {}\n", (), "data: missing"),
        ("- a\n", (), "expected sections"),
        ("", (), "expected sections"),
        ("a: [", (), "not valid YAML"),
        ("a: 2021-13-01", (), "not valid YAML"),
        ("a: {[1]: 2}", (), "not valid YAML"),
        ("!!python/object/apply:os.system ['echo unsafe']\n", (), "not valid YAML"),
    ],
)
def test_a_wrong_configuration_is_one_line_that_names_the_key(tmp_path, text, overrides, expected):
    with pytest.raises(ConfigError, match=r"^[^\n]+$") as caught:
        load_train_config(write(tmp_path, text), overrides)
    assert expected in str(caught.value)


def test_a_missing_file_names_itself(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_train_config(tmp_path / "nowhere.yaml")


def test_pretrained_weights_do_not_follow_a_checkpoint_around():
    spec = ModelSpec("deeplabv3plus", 3, options={"encoder": "resnet18", "pretrained": "/home/me/resnet18.pth"})
    assert stored_spec(spec) == ModelSpec("deeplabv3plus", 3, options={"encoder": "resnet18"})


LEGACY_MODEL = """
MODEL:
  PRETRAINED: None
  ENCODER: {NAME: "ResNet18", OUTPUT_STRIDE: 16}
  FPN: {NAME: "BiFPN", OUT_CHANNELS: 48, NORM: None, STACK: 2}
  DECODER: {NAME: "DeepLabV3Plus", CHANNELS: 64, ASTROUS_RATES: "(1, 2, 3)"}
  POSTPROCESS: {NAME: ["PointRend", "SCSE"], FC_DIM: 32, NUM_FC: 2, REDUCTION: 4}
  BLOCK: "DepthwiseSeparableConv"
"""


def test_the_older_engines_model_section_builds_the_network_it_names(tmp_path):
    config = load_train_config(write(tmp_path, MINIMAL + LEGACY_MODEL), ("MODEL.DECODER.CHANNELS=32",))
    network = build_model(ModelSpec(config.model.name, 3, config.model.in_channels, config.model.options))
    parts = {type(module).__name__ for module in network.modules()}
    assert {"DeepLabV3Plus", "PointRend", "SCSE", "SeparableConv"} <= parts
    assert network.neck is not None
    assert config.model.options["neck"] == "bifpn"
    assert config.model.options["decoder_channels"] == 32
    assert config.model.options["atrous_rates"] == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LEGACY_MODEL.replace("BiFPN", "BiFNP"), "MODEL.FPN.NAME: "),
        (LEGACY_MODEL.replace("ASTROUS_RATES", "ATROUS_RATES"), "MODEL.DECODER.ATROUS_RATES: unknown key"),
        (LEGACY_MODEL + "model: {name: ddrnet_23}", "both `model` and `MODEL`"),
    ],
)
def test_a_wrong_legacy_key_is_named_with_its_file(tmp_path, text, expected):
    with pytest.raises(ConfigError, match=r"run\.yaml: [^\n]+$") as caught:
        load_train_config(write(tmp_path, MINIMAL + text))
    assert expected in str(caught.value)


@pytest.mark.parametrize("change", ["solver.lr=inf", "solver.weight_decay=.inf", "loss.dice=nan", "solver.seed=-5"])
def test_numbers_that_training_cannot_use_are_refused_by_name(tmp_path, change):
    with pytest.raises(ConfigError, match=rf"run\.yaml: {change.split('=')[0]}: Input should be"):
        load_train_config(write(tmp_path, MINIMAL), (change,))
