"""The MODEL section of the older engine's YAML, written as its users wrote it."""

import copy

import pytest

from seg_core.config.legacy import decode, model_spec_from_legacy
from seg_core.errors import ConfigError
from seg_core.spec import ModelSpec

#: What a YAML 1.1 reader makes of the engine's example file.
EXAMPLE = {
    "PRETRAINED": "imagenet",
    "ENCODER": {"NAME": "DDRNet23_slim", "OUTPUT_STRIDE": 16},
    "FPN": {"NAME": "", "OUT_CHANNELS": 88, "PANET": False, "NORM": "None", "STACK": 3},
    "DECODER": {"NAME": "DeepDualResolutionNet", "CHANNELS": 256, "ASTROUS_RATES": "(3, 5, 7)"},
    "POSTPROCESS": {"NAME": [""], "FC_DIM": 512, "NUM_FC": 3, "REDUCTION": 16},
    "BLOCK": "BasicBlock",
}


def _with(changes):
    section = copy.deepcopy(EXAMPLE)
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        place = section
        for parent in parents:
            place = place[parent]
        place[leaf] = value
    return section


def _deeplab(**changes):
    names = {"ENCODER.NAME": "MobileNetV2", "DECODER.NAME": "DeepLabV3Plus"}
    return model_spec_from_legacy(_with({**names, **{key.replace("__", "."): v for key, v in changes.items()}}), 6)


def test_the_example_is_a_ddrnet():
    assert model_spec_from_legacy(EXAMPLE, 6) == ModelSpec(
        "ddrnet_23_slim", 6, 3, {"aux_head": True, "upsample": True, "separable": False}
    )


def test_its_commented_alternative_is_a_deeplab():
    assert _deeplab() == ModelSpec(
        "deeplabv3plus",
        6,
        3,
        {
            "aux_head": True,
            "upsample": True,
            "encoder": "mobilenet_v2",
            "output_stride": 16,
            "decoder_channels": 256,
            "atrous_rates": (3, 5, 7),
            "separable": False,
            "pretrained": "imagenet",
        },
    )


@pytest.mark.parametrize(
    ("encoder", "decoder", "wanted"),
    [
        ("DDRNet23", "DeepDualResolutionNet", "ddrnet_23"),
        ("ddrnet-39", "deepdualresolutionnet", "ddrnet_39"),
        ("ResNet18", "BiSeNet", "bisenet_v1"),
        ("resnet_34", "BiSeNetV1", "bisenet_v1_resnet34"),
        ("", "BiSeNetV2", "bisenet_v2"),
    ],
)
def test_encoder_and_decoder_name_the_architecture(encoder, decoder, wanted):
    spec = model_spec_from_legacy(_with({"ENCODER.NAME": encoder, "DECODER.NAME": decoder}), 10, 4)
    assert (spec.name, spec.num_classes, spec.in_channels) == (wanted, 10, 4)
    assert ("pretrained" in spec.options) == wanted.startswith("bisenet_v1")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"FPN__NAME": "FPN"}, ("fpn", 88, "none", 1)),
        ({"FPN__NAME": "FPN", "FPN__PANET": True, "FPN__NORM": "BN"}, ("panet", 88, "batch", 1)),
        ({"FPN__NAME": "PANet", "FPN__NORM": None}, ("panet", 88, "none", 1)),
        ({"FPN__NAME": "BIFPN", "FPN__NORM": "GN", "FPN__OUT_CHANNELS": "64"}, ("bifpn", 64, "group", 3)),
    ],
)
def test_necks(changes, wanted):
    options = _deeplab(**changes).options
    assert tuple(options[f"neck{part}"] for part in ("", "_channels", "_norm", "_stacks")) == wanted


@pytest.mark.parametrize("names", [[""], [], "", None, "None"])
def test_no_postprocess(names):
    assert not {"point_rend", "scse"} & set(_deeplab(POSTPROCESS__NAME=names).options)


def test_postprocesses():
    options = _deeplab(POSTPROCESS__NAME=["PointRend", "SCSE"], POSTPROCESS__REDUCTION=8).options
    assert (options["point_rend"], options["point_fc_dim"], options["point_num_fc"]) == (True, 512, 3)
    assert (options["scse"], options["scse_reduction"]) == (True, 8)
    assert "scse" not in _deeplab(POSTPROCESS__NAME="PointRend").options


def test_separable_blocks():
    assert _deeplab(BLOCK="SeparableConv2d").options["separable"] is True
    for decoder in ("DeepDualResolutionNet", "BiSeNetV2"):
        section = _with({"DECODER.NAME": decoder, "BLOCK": "DepthwiseSeparableConv"})
        assert model_spec_from_legacy(section, 6).options["separable"] is True


@pytest.mark.parametrize("pretrained", [None, "None", ""])
def test_nothing_pretrained(pretrained):
    assert _deeplab(PRETRAINED=pretrained).options["pretrained"] == ""


def test_absent_sections_have_the_engines_defaults():
    section = {"ENCODER": {"NAME": "ResNet18"}, "DECODER": {"NAME": "DeepLabV3Plus"}, "FPN": None}
    options = model_spec_from_legacy(section, 6).options
    assert (options["output_stride"], options["decoder_channels"], options["atrous_rates"]) == (16, 256, (3, 5, 7))


@pytest.mark.parametrize(
    ("text", "value"),
    [("(3, 5, 7)", (3, 5, 7)), ("None", None), ("1e-3", 1e-3), ("False", False), ("FPN", "FPN"), ("", ""), (88, 88),
     ("__import__('os').getcwd()", "__import__('os').getcwd()"), ("(" * 500, "(" * 500)],
)  # fmt: skip
def test_strings_are_read_as_literals_and_never_run(text, value):
    assert decode(text) == value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"FNP": {}}, "FNP: unknown key; did you mean 'FPN'?"),
        ({"FPN.NAM": "FPN"}, "FPN.NAM: unknown key; did you mean 'NAME'?"),
        ({"DECODER.ATROUS_RATES": "(3, 5)"}, "DECODER.ATROUS_RATES: unknown key; did you mean 'ASTROUS_RATES'?"),
        ({"FPN": "FPN"}, "FPN: expected a section with keys, found 'FPN'"),
        ({"ENCODER.NAME": "DDRNet23slm"}, "ENCODER.NAME: unknown name 'DDRNet23slm'; did you mean 'DDRNet23_slim'?"),
        ({"ENCODER.NAME": ""}, "ENCODER.NAME: missing; known: 'DDRNet23_slim',"),
        ({"ENCODER.OUTPUT_STRIDE": 4}, "ENCODER.OUTPUT_STRIDE: expected 8, 16 or 32, found 4; the nearest is 8"),
        ({"DECODER.NAME": "DeepLabV3"}, "DECODER.NAME: unknown name 'DeepLabV3'; did you mean 'DeepLabV3Plus'?"),
        ({"DECODER.NAME": None}, "DECODER.NAME: missing; known: 'DeepDualResolutionNet',"),
        ({"DECODER.CHANNELS": "wide"}, "DECODER.CHANNELS: expected a whole number of at least 1, found 'wide'"),
        ({"DECODER.ASTROUS_RATES": "(3, x)"},
         "DECODER.ASTROUS_RATES: expected whole numbers such as (3, 5, 7), found '(3, x)'"),
        ({"DECODER.ASTROUS_RATES": "(3, 0)"},
         "DECODER.ASTROUS_RATES: expected whole numbers such as (3, 5, 7), found (3, 0)"),
        ({"FPN.NORM": "BM"}, "FPN.NORM: unknown name 'BM'; did you mean 'BN'?"),
        ({"FPN.PANET": "yes"}, "FPN.PANET: expected True or False, found 'yes'"),
        ({"FPN.PANET": True}, "FPN.PANET: True belongs to NAME: \"FPN\"; set that or PANET: False"),
        ({"POSTPROCESS.NAME": ["PointRent"]}, "POSTPROCESS.NAME: unknown name 'PointRent'; did you mean 'PointRend'?"),
        ({"POSTPROCESS.NAME": [3]}, "POSTPROCESS.NAME: expected a list of names, found [3]"),
        ({"POSTPROCESS.NUM_FC": 0}, "POSTPROCESS.NUM_FC: expected a whole number of at least 1, found 0"),
        ({"BLOCK": "Basicblok"}, "BLOCK: unknown name 'Basicblok'; did you mean 'BasicBlock'?"),
        ({"PRETRAINED": True}, "PRETRAINED: expected a name, found True"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_one_line_that_names_it(changes, message):
    with pytest.raises(ConfigError) as caught:
        model_spec_from_legacy(_with(changes), 6)
    assert str(caught.value).startswith("MODEL." + message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ENCODER.NAME": "ResNet18"},
            "MODEL.ENCODER.NAME: decoder 'DeepDualResolutionNet' takes 'DDRNet23_slim' or 'DDRNet23' or 'DDRNet39', "
            "not 'ResNet18'; \"DeepLabV3Plus\" takes every encoder",
        ),
        (
            {"FPN.NAME": "BiFPN"},
            "MODEL.FPN.NAME: decoder 'DeepDualResolutionNet' takes none; use \"\", or "
            'MODEL.DECODER.NAME: "DeepLabV3Plus"',
        ),
        (
            {"POSTPROCESS.NAME": ["SCSE"]},
            "MODEL.POSTPROCESS.NAME: decoder 'DeepDualResolutionNet' takes none; use [\"\"], or "
            'MODEL.DECODER.NAME: "DeepLabV3Plus"',
        ),
    ],
)
def test_combinations_that_no_network_has_are_refused(changes, message):
    with pytest.raises(ConfigError) as caught:
        model_spec_from_legacy(_with(changes), 6)
    assert str(caught.value) == message
