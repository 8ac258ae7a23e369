import pytest

from seg_core.config.loader import load_train_config
from seg_core.errors import ConfigError
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


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (MINIMAL + "sovler: {}\n", (), "sovler: unknown key; did you mean 'solver'?"),
        (MINIMAL, ("solver.step=3",), "solver.step: unknown key; did you mean 'steps'?"),
        (MINIMAL, ("solver.steps=many",), "solver.steps: "),
        (MINIMAL, ("solver.steps=0",), "solver.steps: "),
        (MINIMAL, ("solver.precision=fp8",), "solver.precision: "),
        (MINIMAL, ("solver",), "expected KEY=VALUE"),
        (MINIMAL, ("data.train.x=1",), "'train' is a value"),
        (MINIMAL, ("augment.scale=[2, 1]",), "runs backwards"),
        (MINIMAL, ("loss={cross_entropy: 0, dice: 0}",), "nothing would be learnt"),
        ("solver: {}\n", (), "data: missing"),
        ("- a\n", (), "expected sections"),
        ("", (), "expected sections"),
        ("a: [", (), "not valid YAML"),
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
