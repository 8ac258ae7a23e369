"""What the pages about training show: commands that parse, tables that are complete, code that runs."""

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import small_runs
import torch
import yaml

from seg_core.config.legacy_run import MOVABLE, _all_keys
from seg_core.config.legacy_solver import OPTIMIZERS
from seg_core.config.loader import load_train_config
from seg_core.config.schema import PriorSection, TrainConfig
from seg_core.errors import ConfigError
from seg_core.labels import LabelSet
from seg_core.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "how-to").glob("*.md")}
OLDER = PAGES["use-an-older-engines-yaml"]
pytestmark = pytest.mark.usefixtures("small_network")


def commands(text):
    """Return the seg-train and test-cfg commands of a page: the configuration and the overrides of each."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        words = (
            shlex.split(line, comments=True) if re.match(r"\s*(seg-train|seg-data test-cfg|torchrun) ", line) else []
        )
        config = next((word for word in words if word.endswith(".yaml")), None)
        if config is not None:
            yield config, [word for flag, word in pairwise(words) if flag == "-o"]


@pytest.mark.parametrize("page", [*PAGES, "README"])
def test_commands_name_files_and_keys_that_there_are(page, tmp_path, monkeypatch):
    seed = (ROOT / "configs" / "seed_face6.yaml").read_text()
    (tmp_path / "my_old.yaml").write_text(seed)
    hair = seed.replace("NUM_CLASSES: 6", "NUM_CLASSES: 2").replace('"Face-6"', '"Hair"')
    (tmp_path / "hair.yaml").write_text(hair)
    (tmp_path / "hair_labels.json").write_text(json.dumps({"names": ["ground", "hair"]}))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    text = PAGES.get(page) or (ROOT / "README.md").read_text(encoding="utf-8")
    for config, overrides in commands(text):
        if config != "my.yaml":
            load_train_config(config, overrides)


def test_enough_commands_are_found():
    counts = {page: len(list(commands(text))) for page, text in PAGES.items()}
    assert counts["use-an-older-engines-yaml"] >= 5
    assert counts["distil-a-network"] >= 2
    assert counts["segment-video"] >= 1


def test_the_table_of_older_keys_is_complete():
    rows = re.findall(r"^\| (`[A-Z].*?) \|", OLDER, re.MULTILINE)
    named = set()
    for row in rows:
        first, *others = re.findall(r"`([A-Z_.*]+)`", row)
        home = first.rpartition(".")[0]
        named |= {first, *(f"{home}.{other}" if home and other not in MOVABLE else other for other in others)}
    known = {key for key in _all_keys() if "." in key or key in MOVABLE}
    shown = {key for key in known if key in named or any(n.endswith("*") and key.startswith(n[:-1]) for n in named)}
    assert shown == known
    assert {name for name in named if not name.endswith("*")} <= known


def test_the_names_of_optimisers_are_complete():
    (row,) = re.findall(r"^\| `SOLVER\.OPTIMIZER\.NAME` \| .*? \| (.*) \|$", OLDER, re.MULTILINE)
    assert row.split(", ") == list(OPTIMIZERS)


def test_refusals_read_as_shown(tmp_path):
    seed = (ROOT / "configs" / "seed_face6.yaml").read_text()
    changes = (
        ("DC_and_Focal_loss", "DC_and_Focl_loss"),
        ("MAX_EPOCH", "MAX_EPOCHS"),
        ("NUM_CLASSES: 6", "NUM_CLASSES: 8"),
        ('# NAME: "ResNet18"', 'NAME: "ResNet18"'),
    )
    shown = re.findall(r"^    error: my_old\.yaml: (.*)$", OLDER, re.MULTILINE)
    for (old, new), line in zip(changes, shown, strict=True):
        path = tmp_path / "my_old.yaml"
        path.write_text(seed.replace(old, new))
        with pytest.raises(ConfigError) as caught:
            load_train_config(path)
        found = str(caught.value).removeprefix(f"{path}: ")
        assert re.sub(r"line \d+", "line N", found) == re.sub(r"line \d+", "line N", line)


def test_both_languages_in_one_file_are_taken_as_shown(tmp_path):
    (block,) = re.findall(r"had no key for.*?:\n\n(.*?)\n\n", OLDER, re.DOTALL)
    path = tmp_path / "my_old.yaml"
    path.write_text(
        (ROOT / "configs" / "seed_face6.yaml").read_text() + re.sub(r"^    ", "", block, flags=re.MULTILINE)
    )
    config = load_train_config(path)
    assert (config.augment.erase, config.solver.compile) == (0.3, "cuda_graphs")


def test_the_table_of_priors_is_complete():
    rows = re.findall(r"^\| (`\w+`.*?) \|", PAGES["segment-video"], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named >= set(PriorSection.model_fields)


def test_the_section_about_a_teacher_is_one():
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGES["distil-a-network"], re.DOTALL)
    tree = {"data": {"train": "a", "val": "b"}, **yaml.safe_load(block)}
    distill = TrainConfig.model_validate(tree).distill
    assert [str(path) for path in distill.teacher] == ["runs/teacher/best.pth"]
    assert (distill.stride, distill.flip) == (2, True)


@pytest.fixture
def checkpoint():
    torch.manual_seed(0)
    spec = ModelSpec(small_runs.NETWORK, 3)
    labels = LabelSet(("background", "left", "right"))
    weights = small_runs.SmallNetwork().state_dict()
    return Checkpoint(spec, PreprocessSpec((64, 64)), PostprocessSpec(), labels, weights)


def test_distilling_from_python_runs(checkpoint, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGES["distil-a-network"], re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("runs/teacher").mkdir(parents=True)
    save_checkpoint(Path("runs/teacher/best.pth"), checkpoint)
    space = {
        "student": WithFeatures(),
        "labels": checkpoint.labels,
        "preprocess": checkpoint.preprocess,
        "image": torch.randn(2, 3, 64, 64),
        "target": torch.randint(0, 3, (2, 64, 64)),
    }
    monkeypatch.setattr(small_runs.SmallNetwork, "forward_features", WithFeatures.forward_features, raising=False)
    exec(code, space)
    assert float(space["loss"].detach()) > 0
    space["loss"].backward()
    assert all(parameter.grad is not None for parameter in space["distiller"].trainable_parameters())


class WithFeatures(small_runs.SmallNetwork):
    def forward_features(self, image):
        features = self.body(image)
        return {"main": self.scores(features)}, features


def test_a_checkpoint_is_given_a_crf_as_shown(checkpoint, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGES["refine-edges-with-a-crf"], re.DOTALL)
    monkeypatch.chdir(tmp_path)
    save_checkpoint(Path("ckpt.pth"), checkpoint)
    exec(code, {})
    assert load_checkpoint(Path("ckpt_crf.pth")).postprocess.crf.scale == 2
