"""The older engine's UPPERCASE YAML as entries of our configuration: data, input, solver and the names of a run.

The MODEL section is read by `legacy_model`, classes by `legacy_labels`. What that engine always did, such as how it
varied pictures, is implied: everything else in the file, or an override, has precedence over it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seg_core.config.legacy_labels import choose_labels
from seg_core.config.legacy_model import DDRNETS, IMAGENET, first_weights, model_keys, model_spec_from_legacy
from seg_core.config.legacy_solver import COUPLED, COUPLED_DECAY, LOSSES, OPTIMIZERS, SCHEDULES
from seg_core.config.legacy_values import LegacySection, plain, shown

#: Keys that files of that engine have at the top, in SOLVER or in DATASET.
MOVABLE = ("NUM_WORKERS", "BATCH_SIZE", "ACC_STEP", "MAX_EPOCH", "DATE", "EXTRA", "TASK")
_SECTIONS = {
    "DATASET": ("TRAIN_PATH", "TEST_PATH", "NUM_CLASSES", "GRAYSCALE"),
    "INPUT": ("SIZE", "CROP"),
    "SOLVER": ("OPTIMIZER", "LR_SCHEDULER", "LOSS"),
    "SOLVER.OPTIMIZER": ("NAME", "LR", "WARMUP_LR", "WEIGHT_DECAY", "MOMENTUM"),
    "SOLVER.LR_SCHEDULER": ("NAME", "WARMUP_STEPS", "POWER"),
}
_HOMES = ("", "SOLVER", "DATASET")

#: How that engine varied its training pictures: colours by half, mirror images, scales of 0.75 to 2, a random crop.
_IMPLIED = {
    "augment.flip": 0.5,
    "augment.scale": (0.75, 2.0),
    **dict.fromkeys(("augment.brightness", "augment.contrast", "augment.saturation"), 0.5),
    **dict.fromkeys(("augment.translate", "augment.rotate_deg", "augment.hue_deg", "augment.grayscale"), 0.0),
    **dict.fromkeys(("augment.blur", "augment.jpeg", "augment.low_resolution", "augment.erase"), 0.0),
    "data.cache": False,  # its data sets are tens of thousands of photographs
    "log_every": 100,
    **dict.fromkeys(("eval_every", "save_every"), "epoch"),
}
#: ImageNet's statistics of gray pictures: the mean is that of the three channels weighed as OpenCV weighs them (ITU-R
#: BT.601), the deviation their average.
_GRAY_MEAN, _GRAY_STD = (0.459,), (0.226,)


@dataclass(frozen=True)
class Told:
    """One value of our configuration and the UPPERCASE key that says it, "" for what is implied."""

    value: Any
    source: str = ""


@dataclass
class Translation:
    """What a file says by our dotted keys, the number of classes it wants, and remarks a person should read."""

    told: dict[str, Told] = field(default_factory=dict)
    num_classes: int | None = None
    notes: list[str] = field(default_factory=list)


def is_legacy_key(key: object) -> bool:
    """Whether `key`, the first part of a dotted one, is spelt as that engine spells its own."""
    return isinstance(key, str) and key.isupper()


def translate(tree: Mapping[str, Any], whole: bool, has_labels: bool) -> Translation:
    """Return what the UPPERCASE keys of a file say.

    With `whole` the file is that engine's; otherwise only its MODEL section stands among sections of ours, and
    nothing is implied. `has_labels` says that the label set is named elsewhere. Raises ConfigError in one line that
    names the first wrong key and the nearest right one.
    """
    everywhere = _all_keys()
    root = LegacySection("", tree, ("MODEL", *_top_sections(), *MOVABLE), everywhere)
    sections = {"": root, **{name: root.section(name, _keys_of(name), everywhere) for name in _top_sections()}}
    result = Translation()
    told = result.told
    if whole:
        told |= {key: Told(value) for key, value in _IMPLIED.items()}
    _read_data(sections, result, has_labels, whole)
    _read_input(sections["INPUT"], told)
    _read_solver(sections, told)
    _read_names(sections, told)
    if "MODEL" in root:
        _read_model(tree["MODEL"], result)
    return result


def withdraw_twins(tree: dict[str, Any], key: str) -> None:
    """Take a movable key out of its other places, in place: an override of one place is meant for all."""
    home, _, leaf = key.rpartition(".")
    if leaf not in MOVABLE or home not in _HOMES:
        return
    for other in _HOMES:
        section = tree.get(other) if other else tree
        if other != home and isinstance(section, dict):
            section.pop(leaf, None)


def _top_sections() -> list[str]:
    return [name for name in _SECTIONS if "." not in name]


def _keys_of(section: str) -> tuple[str, ...]:
    return (*_SECTIONS[section], *(MOVABLE if section in _HOMES else ()))


def _all_keys() -> list[str]:
    own = [
        f"{section}.{key}" for section, keys in _SECTIONS.items() for key in keys if f"{section}.{key}" not in _SECTIONS
    ]
    return [*model_keys(), *own, *MOVABLE, "MODEL", *_top_sections()]


def _find(sections: Mapping[str, LegacySection], key: str) -> LegacySection | None:
    """Return the section that has a movable key; raises ConfigError when two disagree about it."""
    found = [sections[home] for home in _HOMES if key in sections[home]]
    if len({repr(section.raw(key)) for section in found}) > 1:
        first, second = found[:2]
        values = f"{shown(first.raw(key))}, but {second.name(key)} is {shown(second.raw(key))}"
        raise first.error(key, f"{values}; keep one of them")
    return found[0] if found else None


def _read_data(sections: Mapping[str, LegacySection], result: Translation, has_labels: bool, whole: bool) -> None:
    dataset, told = sections["DATASET"], result.told
    for key, ours in (("TRAIN_PATH", "data.train"), ("TEST_PATH", "data.val")):
        paths = dataset.words(key)
        if paths:
            told[ours] = Told(paths, dataset.name(key))
    if "NUM_CLASSES" in dataset:
        result.num_classes = dataset.integer("NUM_CLASSES", 0, least=2)
    home = _find(sections, "TASK")
    task = home.word("TASK") if home else ""
    if whole and not has_labels:
        labels, merge = choose_labels(task, result.num_classes)
        told["data.labels"] = Told(labels)
        if merge:
            told["data.merge"] = Told(merge)
    if dataset.flag("GRAYSCALE", default=False):
        told["preprocess.color"] = Told("gray", dataset.name("GRAYSCALE"))
        told["preprocess.mean"], told["preprocess.std"] = Told(_GRAY_MEAN), Told(_GRAY_STD)
    _read_count(sections, "NUM_WORKERS", "data.workers", told, least=0)


def _read_input(section: LegacySection, told: dict[str, Told]) -> None:
    size_hw, crop_hw = section.size_hw("SIZE"), section.size_hw("CROP")
    if size_hw:
        told["preprocess.size_hw"] = Told(size_hw, section.name("SIZE"))
    if crop_hw:
        if size_hw and any(crop > side for crop, side in zip(crop_hw, size_hw, strict=True)):
            raise section.error("CROP", f"{crop_hw} is larger than INPUT.SIZE {size_hw}")
        told["augment.crop_hw"] = Told(crop_hw, section.name("CROP"))


def _read_solver(sections: Mapping[str, LegacySection], told: dict[str, Told]) -> None:
    everywhere = _all_keys()
    optimizer = sections["SOLVER"].section("OPTIMIZER", _SECTIONS["SOLVER.OPTIMIZER"], everywhere)
    scheduler = sections["SOLVER"].section("LR_SCHEDULER", _SECTIONS["SOLVER.LR_SCHEDULER"], everywhere)
    _read_count(sections, "BATCH_SIZE", "solver.batch_size", told, least=2)
    _read_count(sections, "ACC_STEP", "solver.accumulate", told)
    _read_count(sections, "MAX_EPOCH", "solver.epochs", told)

    def take(section: LegacySection, key: str, ours: str, read: Callable[[str], Any]) -> None:
        if key in section:
            told[ours] = Told(read(key), section.name(key))

    take(optimizer, "NAME", "solver.optimizer", lambda key: optimizer.choice(key, OPTIMIZERS))
    take(optimizer, "LR", "solver.lr", lambda key: optimizer.number(key, 0.0))
    take(optimizer, "WARMUP_LR", "solver.warmup_lr", lambda key: optimizer.number(key, 0.0, least=0.0))
    take(optimizer, "WEIGHT_DECAY", "solver.weight_decay", lambda key: optimizer.number(key, 0.0, least=0.0))
    take(optimizer, "MOMENTUM", "solver.momentum", lambda key: optimizer.number(key, 0.0, least=0.0))
    take(scheduler, "NAME", "solver.schedule", lambda key: scheduler.choice(key, SCHEDULES))
    take(scheduler, "WARMUP_STEPS", "solver.warmup_steps", lambda key: scheduler.integer(key, 0, least=0))
    take(scheduler, "POWER", "solver.poly_power", lambda key: scheduler.number(key, 0.0))
    lr, warmup_lr = told.get("solver.lr"), told.get("solver.warmup_lr")
    if lr and warmup_lr and warmup_lr.value > lr.value:
        raise optimizer.error("WARMUP_LR", f"{warmup_lr.value:g} is above LR {lr.value:g}, to which it is to grow")
    if "solver.optimizer" in told and told["solver.optimizer"].value in COUPLED:
        told.setdefault("solver.weight_decay", Told(COUPLED_DECAY))
    _read_loss(sections["SOLVER"], told)


def _read_loss(solver: LegacySection, told: dict[str, Told]) -> None:
    if "LOSS" not in solver:
        return
    weights = solver.choice("LOSS", LOSSES)
    for term in sorted({term for loss in LOSSES.values() for term in loss}):
        told[f"loss.{term}"] = Told(weights.get(term, 0.0), solver.name("LOSS"))
    if "edge" in weights:  # the network needs the head that this loss scores
        told |= {f"model.options.{name}": Told(True) for name in ("aux_head", "upsample", "edge_head")}


def _read_names(sections: Mapping[str, LegacySection], told: dict[str, Told]) -> None:
    words = {}
    for key in ("TASK", "EXTRA", "DATE"):
        home = _find(sections, key)
        words[key] = home.word(key) if home else ""
        if words[key] and home and key != "DATE":
            told[key.lower()] = Told(words[key], home.name(key))
    name = "_".join(filter(None, map(as_file_name, words.values())))
    if name:
        told["output"] = Told(f"runs/{name}")


def as_file_name(word: str) -> str:
    """Return `word` as a part of a file name: letters, digits, ".", "_" and "-", no leading "." or "-"."""
    return re.sub(r"[^\w.-]+", "-", word).strip(".-")


def _read_model(section: Any, result: Translation) -> None:
    spec = model_spec_from_legacy(section, num_classes=2)  # the classes come from the label set: two stand in for them
    weights, options = first_weights(section, spec), dict(spec.options)
    trunk = options.get("encoder", spec.name)
    if plain(str(section.get("PRETRAINED"))) == IMAGENET and ("pretrained" not in options or trunk in DDRNETS.values()):
        if "pretrained" in options:
            options["pretrained"] = ""
        result.notes.append(
            f"MODEL.PRETRAINED: no program can fetch {IMAGENET!r} weights of {trunk}, which starts from random ones; "
            "give the path of a file to start from that"
        )
    result.told["model.name"] = Told(spec.name, "MODEL.DECODER.NAME")
    for option, value in options.items():
        result.told[f"model.options.{option}"] = Told(value, "MODEL")
    if weights is not None:
        result.told["model.weights"] = Told(weights, "MODEL.PRETRAINED")


def _read_count(
    sections: Mapping[str, LegacySection], key: str, ours: str, told: dict[str, Told], least: int = 1
) -> None:
    home = _find(sections, key)
    if home:
        told[ours] = Told(home.integer(key, 0, least), home.name(key))
