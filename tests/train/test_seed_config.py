"""The older engine's UPPERCASE YAML loads as it is, trains, and is answered by key when it is wrong."""

import json
from pathlib import Path

import pytest

from seg_core.config.legacy_solver import LOSSES, OPTIMIZERS, SCHEDULES
from seg_core.config.loader import load_train_config, read_train_config
from seg_core.errors import ConfigError
from seg_core.label_merge import MERGES

#: As its users have it, paths aside: lists of paths, tuples in parentheses, 1e-3, None, "", [""], alternatives.
SEED = """
DATASET:
  TRAIN_PATH: [
      "/data/faces/CelebA-HQ-img",
      "/data/faces/CelebA-HQ-Occlusion",
    ]
  TEST_PATH: [
      "/data/faces/CelebA-HQ-img",
    ]
  NUM_CLASSES: 6
  GRAYSCALE: False

MODEL:
  PRETRAINED: "imagenet"
  ENCODER:
    NAME: "DDRNet23_slim"
    OUTPUT_STRIDE: 16
  FPN:
    NAME: ""
    OUT_CHANNELS: 88
    PANET: False
    NORM: None
    STACK: 3
  DECODER:
    # NAME: "DeepLabV3Plus"
    NAME: "DeepDualResolutionNet"
    CHANNELS: 256
    ASTROUS_RATES: (3, 5, 7)
  POSTPROCESS:
    NAME: [""]
    FC_DIM: 512
    NUM_FC: 3
    REDUCTION: 16
  BLOCK: "BasicBlock"

# INPUT
INPUT:
  SIZE: (256, 256)
  CROP: (224, 224)

# SOLVER
SOLVER:
  OPTIMIZER:
    NAME: "AdaBelief"
    LR: 1e-3
    WARMUP_LR: 1e-5
  LR_SCHEDULER:
    NAME: "OneCycleLR"
  LOSS: "DC_and_Focal_loss"
  # LOSS: "JointEdgeSegLoss"
  NUM_WORKERS: 16
  BATCH_SIZE: 64
  ACC_STEP: 1
MAX_EPOCH: 100
DATE: "2021-09-22"
EXTRA: "occluded"
TASK: "Face-6"
"""


LOSS_TERMS = ("cross_entropy", "ohem", "dice", "iou", "lovasz", "focal", "edge", "boundary")


def weights_of(config):
    return {term: weight for term in LOSS_TERMS if (weight := getattr(config.loss, term))}


@pytest.fixture
def load(tmp_path):
    """Load SEED with replacements, (old, new) each, and overrides."""

    def load(*changes, overrides=(), add=""):
        text = SEED
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "seed.yaml"
        path.write_text(text + add)
        return load_train_config(path, overrides)

    return load


def test_every_key_of_the_seed_has_its_place(load):
    config = load()
    assert [str(path) for path in config.data.train] == ["/data/faces/CelebA-HQ-img", "/data/faces/CelebA-HQ-Occlusion"]
    assert [str(path) for path in config.data.val] == ["/data/faces/CelebA-HQ-img"]
    assert (config.data.labels, config.data.merge, config.data.workers) == ("celebamask_hq", "face_6", 16)
    assert config.model.name == "ddrnet_23_slim"
    assert config.model.options == {"aux_head": True, "upsample": True, "separable": False}
    assert (config.model.in_channels, config.model.weights, config.preprocess.color) == (3, None, "rgb")
    assert (config.preprocess.size_hw, config.augment.crop_hw) == ((256, 256), (224, 224))
    solver = config.solver
    assert (solver.optimizer, solver.lr, solver.warmup_lr, solver.schedule) == ("adabelief", 1e-3, 1e-5, "one_cycle")
    assert (solver.batch_size, solver.accumulate, solver.epochs) == (64, 1, 100)
    assert weights_of(config) == {"dice": 1, "focal": 1}
    assert (config.log_every, config.data.cache) == (100, False)  # tens of thousands of photographs fit no memory
    assert (config.task, config.extra, str(config.output)) == ("Face-6", "occluded", "runs/Face-6_occluded_2021-09-22")


def test_pictures_are_varied_as_that_engine_did(load):
    augment = load().augment
    assert (augment.flip, augment.scale, augment.stretch) == (0.5, (0.75, 2.0), (1.0, 1.0))
    assert (augment.brightness, augment.contrast, augment.saturation, augment.hue_deg) == (0.5, 0.5, 0.5, 0)
    others = ("translate", "rotate_deg", "grayscale", "blur", "jpeg", "low_resolution", "erase")
    assert [getattr(augment, name) for name in others] == [0] * 7
    assert load(add="augment: {erase: 0.3}\n").augment.erase == 0.3
    assert load(overrides=["augment.flip=0"]).augment.flip == 0


@pytest.mark.parametrize("home", ["", "SOLVER", "DATASET"])
@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("NUM_WORKERS", "3", lambda config: config.data.workers == 3),
        ("BATCH_SIZE", "8", lambda config: config.solver.batch_size == 8),
        ("ACC_STEP", "4", lambda config: config.solver.accumulate == 4),
        ("MAX_EPOCH", "7", lambda config: config.solver.epochs == 7),
        ("EXTRA", "dark", lambda config: config.extra == "dark"),
        ("TASK", "face_6", lambda config: config.task == "face_6"),
        ("DATE", "2022-01-02", lambda config: config.output.name.endswith("_2022-01-02")),
    ],
)
def test_keys_of_the_run_may_stand_in_three_places(load, home, key, value, read):
    place = f"{home}.{key}" if home else key
    assert read(load(overrides=[f"{place}={value}"]))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers(load, name):
    from seg_train.optim import list_optimizers

    config = load(('"AdaBelief"', f'"{name}"'))
    assert config.solver.optimizer in list_optimizers()
    # Decay that is added to the gradient is far stronger than decay of the weights themselves.
    assert config.solver.weight_decay == (0.01 if name in ("AdaBelief", "AdamW", "LAMB", "Lion", "Adan") else 5e-4)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("OneCycleLR", "one_cycle"), ("PolyLR", "poly"), ("WarmupPolyLR", "poly"), ("CosineAnnealingLR", "cosine"),
     ("cosine_annealing_lr", "cosine"), ("", "constant"), ("None", "constant")],
)  # fmt: skip
def test_schedules(load, name, schedule):
    assert load(('"OneCycleLR"', f'"{name}"')).solver.schedule == schedule


def test_every_schedule_is_one_of_ours(load):
    assert {load(('"OneCycleLR"', f'"{name}"')).solver.schedule for name in SCHEDULES} == set(SCHEDULES.values())


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("DC_and_Focal_loss", {"dice": 1, "focal": 1}),
        ("JointEdgeSegLoss", {"cross_entropy": 1, "edge": 20, "boundary": 1}),
        ("CE", {"cross_entropy": 1}),
        ("OHEM", {"ohem": 1}),
        ("Dice", {"dice": 1}),
        ("IoU", {"iou": 1}),
        ("Lovasz", {"lovasz": 1}),
        ("focal-loss", {"focal": 1}),
    ],
)
def test_losses(load, name, weights):
    config = load(('"DC_and_Focal_loss"', name))
    assert weights_of(config) == weights
    assert config.model.options.get("edge_head", False) is ("edge" in weights)


def test_every_loss_is_of_known_terms():
    assert {term for weights in LOSSES.values() for term in weights} == set(LOSS_TERMS)


@pytest.mark.parametrize(
    ("task", "count", "labels", "merge"),
    [
        ("Face-19", 19, "celebamask_hq", None),
        ("Face-10", 10, "celebamask_hq", "face_10"),
        ("face_8", 8, "celebamask_hq", "face_8"),
        ("Face", 6, "celebamask_hq", "face_6"),
        ("", 19, "celebamask_hq", None),
        ("", 11, "camvid_11", None),
        ("CamVid", 11, "camvid_11", None),
        ("Cityscapes", 19, "cityscapes_19", None),
        ("demo", 19, "celebamask_hq", None),
    ],
)
def test_task_and_number_name_the_classes(load, task, count, labels, merge):
    config = load(('"Face-6"', f'"{task}"'), ("NUM_CLASSES: 6", f"NUM_CLASSES: {count}"))
    assert (config.data.labels, config.data.merge) == (labels, merge)
    assert merge is None or merge in MERGES


def test_own_classes_are_named_and_counted(load, tmp_path):
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"names": ["ground", "hair"]}))
    changes = ('"Face-6"', '"Hair"'), ("NUM_CLASSES: 6", "NUM_CLASSES: 2")
    config = load(*changes, overrides=[f"data.labels={labels}"])
    assert (config.data.labels, config.data.merge) == (str(labels), None)
    assert load(*changes, add=f"data: {{labels: {labels}}}\n").data.labels == str(labels)
    with pytest.raises(ConfigError, match=r"DATASET\.NUM_CLASSES: 6, but data\.labels .* has 2 classes"):
        load(changes[0], overrides=[f"data.labels={labels}"])
    merge = tmp_path / "merge.json"
    merge.write_text(json.dumps({"a": ["ground"], "b": ["hair"]}))
    assert load(*changes, overrides=[f"data.labels={labels}", f"data.merge={merge}"]).data.merge == str(merge)


def test_gray_pictures_have_one_channel_and_one_statistic(load):
    config = load(("GRAYSCALE: False", "GRAYSCALE: True"))
    assert (config.preprocess.color, config.model.in_channels) == ("gray", 1)
    assert (len(config.preprocess.mean), len(config.preprocess.std)) == (1, 1)
    assert load(overrides=["preprocess.prior=previous_labels"]).model.in_channels == 4


@pytest.mark.parametrize(
    ("written", "name"),
    [('"2021-09-22"', "2021-09-22"), ("2021-09-22", "2021-09-22"), ("20210922", "20210922"), ('"2021_09"', "2021_09"),
     ("2021-09-22 10:30:00", "2021-09-22T10-30-00")],
)  # fmt: skip
def test_dates_are_kept_as_they_are_written(load, written, name):
    assert str(load(('"2021-09-22"', written)).output) == f"runs/Face-6_occluded_{name}"


def test_names_of_runs_stay_inside_the_folder_of_runs(load):
    config = load(('"occluded"', '"../../a b/ü"'))
    assert config.output.parts == ("runs", "Face-6_a-b-ü_2021-09-22")
    nothing = ('EXTRA: "occluded"', "EXTRA: None"), ('DATE: "2021-09-22"', "DATE:")
    assert str(load(*nothing).output) == "runs/Face-6"


def test_pretrained_beside_a_ddrnet_is_a_checkpoint(load, tmp_path):
    weights = tmp_path / "ours.pth"
    weights.write_bytes(b"")
    assert load(('"imagenet"', f'"{weights}"')).model.weights == weights
    for nothing in ("None", '""', "null", '"ImageNet"'):
        assert load(('"imagenet"', nothing)).model.weights is None
    with pytest.raises(ConfigError, match=r"MODEL\.PRETRAINED: no file 'imagnet'; did you mean 'imagenet'\?"):
        load(('"imagenet"', "imagnet"))
    with pytest.raises(ConfigError, match=r"MODEL\.PRETRAINED: no file 'gone\.pth'"):
        load(('"imagenet"', "gone.pth"))


def test_weights_that_nobody_can_fetch_are_remarked_on(load, tmp_path):
    load()
    assert "'imagenet' weights of ddrnet_23_slim" in read_train_config(tmp_path / "seed.yaml").notes[0]
    assert read_train_config(tmp_path / "seed.yaml", ["MODEL.PRETRAINED="]).notes == ()
    assert len(read_train_config(tmp_path / "seed.yaml", ["MODEL.PRETRAINED=ImageNet"]).notes) == 1
    on_deeplab = read_train_config(tmp_path / "seed.yaml", ["MODEL.DECODER.NAME=DeepLabV3Plus"])
    assert (on_deeplab.config.model.options["encoder"], len(on_deeplab.notes)) == ("ddrnet_23_slim", 1)
    assert on_deeplab.config.model.options["pretrained"] == ""


def test_pretrained_of_an_encoder_stays_its_own(load, tmp_path):
    on_resnet = ('"DDRNet23_slim"', '"ResNet18"'), ('"DeepDualResolutionNet"', '"DeepLabV3Plus"')
    config = load(*on_resnet)
    assert (config.model.options["pretrained"], config.model.weights) == ("imagenet", None)
    assert config.model.options["atrous_rates"] == (3, 5, 7)
    assert load(*on_resnet, ('"imagenet"', '"ImageNet"')).model.options["pretrained"] == "imagenet"
    weights = tmp_path / "resnet18.pth"
    weights.write_bytes(b"")
    assert load(*on_resnet, ('"imagenet"', f'"{weights}"')).model.options["pretrained"] == str(weights)
    with pytest.raises(ConfigError, match=r"MODEL\.PRETRAINED: no file 'gone\.pth'; give the path of a checkpoint$"):
        load(*on_resnet, ('"imagenet"', "gone.pth"))
    with pytest.raises(ConfigError, match=r"MODEL\.PRETRAINED: no file 'imgnet'; did you mean 'imagenet'\?$"):
        load(*on_resnet, ('"imagenet"', "imgnet"))


@pytest.mark.parametrize("nothing", ['""', "None", '"None"', "null", "[]", "[None]", '("",)', '[""]'])
def test_no_postprocess_may_be_said_in_many_ways(load, nothing):
    on_resnet = ('"DDRNet23_slim"', '"ResNet18"'), ('"DeepDualResolutionNet"', '"DeepLabV3Plus"')
    options = load(*on_resnet, ('NAME: [""]', f"NAME: {nothing}")).model.options
    assert not {"scse", "point_rend"} & options.keys()


def test_whole_numbers_may_be_written_as_floats_are(load):
    changes = [("MAX_EPOCH: 100", "MAX_EPOCH: 1e2"), ("BATCH_SIZE: 64", "BATCH_SIZE: 64.0")]
    config = load(*changes, ("CROP: (224, 224)", "CROP: (2.24e2, 224)"))
    assert (config.solver.epochs, config.solver.batch_size, config.augment.crop_hw) == (100, 64, (224, 224))


def test_overrides_speak_both_languages_and_the_last_word_is_ours(load):
    assert load(overrides=["SOLVER.OPTIMIZER.LR=2e-3"]).solver.lr == 2e-3
    assert load(overrides=["solver.lr=3e-3"]).solver.lr == 3e-3
    assert load(overrides=["solver.lr=3e-3", "SOLVER.OPTIMIZER.LR=2e-3"]).solver.lr == 3e-3
    assert load(overrides=["INPUT.SIZE=(128, 160)", "INPUT.CROP=None"]).preprocess.size_hw == (128, 160)
    assert load(overrides=["DATASET.TRAIN_PATH=[a, b]", "data.val=c"]).data.model_dump()["val"] == (Path("c"),)
    assert load(overrides=["SOLVER.LOSS=CE"], add="loss: {dice: 2}\n").loss.dice == 0
    assert load(add="solver: {ema_decay: 0.9}\n").solver.ema_decay == 0.9
    assert (load(overrides=["solver.steps=9"]).solver.epochs, load(overrides=["MAX_EPOCH=9"]).solver.epochs) == (
        None,
        9,
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"DC_and_Focal_loss"', '"DC_and_Focl_loss"', "SOLVER.LOSS: unknown name 'DC_and_Focl_loss'; did you mean "
         "'DC_and_Focal_loss'?"),
        ('"DC_and_Focal_loss"', "", "SOLVER.LOSS: missing; known: 'DC_and_Focal_loss',"),
        ('"AdaBelief"', '"AdaBelif"', "SOLVER.OPTIMIZER.NAME: unknown name 'AdaBelif'; did you mean 'AdaBelief'?"),
        ("OneCycleLR", "OneCylceLR", "SOLVER.LR_SCHEDULER.NAME: unknown name 'OneCylceLR'; did you mean 'OneCycleLR'?"),
        ("LR: 1e-3", "LR: fast", "SOLVER.OPTIMIZER.LR: expected a number above 0 such as 1e-3, found 'fast'"),
        ("LR: 1e-5", "LR: 1e-2", "SOLVER.OPTIMIZER.WARMUP_LR: 0.01 is above LR 0.001"),
        ("LR_SCHEDULER:", "SCHEDULER:", "SOLVER.SCHEDULER: unknown key; did you mean 'LR_SCHEDULER'?"),
        ("SOLVER:", "SOLVR:", "SOLVR: unknown key; did you mean 'SOLVER'?"),
        ("MAX_EPOCH", "MAX_EPOCHS", "MAX_EPOCHS: unknown key; did you mean 'MAX_EPOCH'?"),
        ("  LOSS:", "  LR: 1\n  LOSS:", "SOLVER.LR: unknown key; did you mean 'SOLVER.OPTIMIZER.LR'?"),
        ("  LOSS:", "  lr: 1\n  LOSS:", "SOLVER.lr: unknown key; did you mean 'SOLVER.OPTIMIZER.LR'?"),
        ("  LOSS:", "  NAME: SGD\n  LOSS:", "SOLVER.NAME: unknown key; did you mean 'SOLVER.OPTIMIZER.NAME'?"),
        ("  LOSS:", "  Loss:", "SOLVER.Loss: unknown key; did you mean 'LOSS'?"),
        ("DATE:", "CROP: 3\nDATE:", "CROP: unknown key; did you mean 'INPUT.CROP'?"),
        ("TRAIN_PATH", "TRAIN_PTH", "DATASET.TRAIN_PTH: unknown key; did you mean 'TRAIN_PATH'?"),
        ("ASTROUS_RATES", "ATROUS_RATES", "MODEL.DECODER.ATROUS_RATES: unknown key; did you mean 'ASTROUS_RATES'?"),
        ("NUM_CLASSES: 6", "NUM_CLASSES: 8", "DATASET.NUM_CLASSES: 8, but TASK 'Face-6' has 6 classes"),
        ("NUM_CLASSES: 6", "NUM_CLASSES: six", "DATASET.NUM_CLASSES: expected a whole number of at least 2"),
        ('"Face-6"', '"Face-7"', "TASK: 'Face-7' is no built-in task; did you mean 'Face-8'?; or name your own"),
        ('"Face-6"', '"Fcae-6"', "TASK: 'Fcae-6' is no built-in task; did you mean 'Face-6'?"),
        ('"Face-6"', '"Hair"', "TASK: 'Hair' is no built-in task; known: 'Face-19', 'Face-10', 'Face-8', 'Face-6',"),
        ('"Face-6"', '""', "DATASET.NUM_CLASSES: no built-in label set has 6 classes; name the task (TASK: Face-19"),
        ("GRAYSCALE: False", "GRAYSCALE: maybe", "DATASET.GRAYSCALE: expected True or False, found 'maybe'"),
        ("SIZE: (256, 256)", "SIZE: (256, 256, 3)", "INPUT.SIZE: expected (height, width) such as (256, 256)"),
        ("CROP: (224, 224)", "CROP: (512, 512)", "INPUT.CROP: (512, 512) is larger than INPUT.SIZE (256, 256)"),
        ("MAX_EPOCH: 100", "MAX_EPOCH: 1.5", "MAX_EPOCH: expected a whole number of at least 1, found 1.5"),
        ("BATCH_SIZE: 64", "BATCH_SIZE: 1", "SOLVER.BATCH_SIZE: expected a whole number of at least 2, found 1"),
        ("DATE:", "BATCH_SIZE: 8\nDATE:", "BATCH_SIZE: 8, but SOLVER.BATCH_SIZE is 64; keep one of them"),
        ("# NAME", "NAME", "the key 'NAME' is there twice; keep one of them"),
        ("MODEL:", "MODEL: [x]\nINPUT2:", "INPUT2: unknown key; did you mean 'INPUT'?"),
        ("DATE:", "solver: {lr: 1}\nDATE:", "SOLVER.OPTIMIZER.LR: is there, and so is `solver.lr`; keep one of them"),
        ("DATE:", "solver: {momentum: 2}\nDATE:", "solver.momentum: Input should be less than 1"),
        ("DATE:", "solver: {steps: 9}\nDATE:", "MAX_EPOCH: is there, and so is `solver.steps`; keep one of them"),
        ("DATE: ", "DATE: [1] #", "DATE: expected a word, found [1]"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_one_line_that_names_it(load, old, new, message):
    with pytest.raises(ConfigError, match=r"^[^\n]+seed\.yaml: [^\n]+$") as caught:
        load((old, new))
    assert message in str(caught.value)


def test_missing_data_and_values_out_of_range_are_named_as_the_file_names_them(load):
    with pytest.raises(ConfigError, match=r"DATASET\.TEST_PATH: missing; .* -o DATASET\.TEST_PATH=…"):
        load(overrides=["DATASET.TEST_PATH="])
    with pytest.raises(ConfigError, match=r"SOLVER\.OPTIMIZER\.MOMENTUM: Input should be less"):
        load(overrides=["SOLVER.OPTIMIZER.MOMENTUM=3"])
    with pytest.raises(ConfigError, match=r"solver\.lr: "):
        load(overrides=["solver.lr=-1"])
    with pytest.raises(ConfigError, match="MAX_EPOCHS: unknown key; did you mean 'MAX_EPOCH'"):
        load(overrides=["MAX_EPOCHS=3"])
