"""Measure one registered network by the installed commands: what it is, its parity on every target, its time.

Rooms do not import one another, so artifacts are made by `seg-export` and timed by `seg-bench`, in processes of their
own, and read back from the JSON that those write.
"""

from __future__ import annotations

import json
import shutil
import subprocess  # the project's own commands, with fixed arguments
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_bench.schema import load_report
from seg_bench.zoo_schema import ZooEntry, ZooExport, ZooTime, ZooWeights
from seg_core.errors import SegError
from seg_core.runners import RUNNERS

if TYPE_CHECKING:
    from seg_core.models.checkpoint import Checkpoint

#: The formats that run on a processor at full speed wherever this project does.
TIMED_TARGETS = ("onnx", "tflite")

#: The precisions proved: half precision is judged on labels, which only trained weights have.
_PRECISIONS = {"trained": ("fp32", "fp16"), "seeded": ("fp32",)}


@dataclass(frozen=True)
class Workshop:
    """Where artifacts are made: `folder`/<model>/<model>.<suffix>, from `images` at `size_hw`.

    `trained` maps models to the checkpoints that are bundled; every other model gets seeded weights.
    """

    folder: Path
    images: Path
    size_hw: tuple[int, int]
    trained: dict[str, Path]

    def artifact(self, model: str, target: str) -> Path:
        """Return where the float32 artifact of `model` for `target` is or will be."""
        return self.folder / model / f"{model}{RUNNERS.get(target).suffix}"


def find_trained(folder: Path) -> dict[str, Path]:
    """Return the checkpoints in `folder` by the name of their architecture; raises CheckpointError."""
    from seg_core.models.checkpoint import load_checkpoint

    return {load_checkpoint(path).model.name: path for path in sorted(folder.glob("*.pth"))}


def list_installed_targets() -> dict[str, list[str]]:
    """Return the precisions of each export target whose converter is installed; raises SegError without seg-export."""
    found = _run_json("seg-export", "--list-targets", "--json")
    return {target["name"]: target["precisions"] for target in found["targets"] if not target["missing"]}


def prove_model(model: str, targets: Mapping[str, Sequence[str]], shop: Workshop, date: str) -> ZooEntry:
    """Export `model` to all `targets` and return its numbers and what parity found; failed targets are rows too.

    `targets` holds the precisions of each.
    """
    from seg_core.models.zoo import NUM_CLASSES, describe_model
    from seg_core.spec import ModelSpec

    facts = describe_model(ModelSpec(model, NUM_CLASSES), shop.size_hw)
    weights = "trained" if model in shop.trained else "seeded"
    exports = []
    for precision in _PRECISIONS[weights]:
        able = [target for target, precisions in targets.items() if precision in precisions]
        exports += export_model(model, able, shop, precision)
    return ZooEntry(
        model=model,
        summary=facts.summary,
        paper=facts.paper,
        parameters=facts.parameters,
        training_parameters=facts.training_parameters,
        gmacs=round(facts.gmacs, 4),
        output_stride=facts.output_stride,
        size_divisor=facts.size_divisor,
        published=tuple(ZooWeights(entry.trained_on, entry.file, entry.origin) for entry in facts.published),
        weights="trained" if model in shop.trained else "seeded",
        checkpoint=_checkpoint(model, shop).name,
        date=date,
        exports=tuple(exports),
    )


def export_model(model: str, targets: Sequence[str], shop: Workshop, precision: str = "fp32") -> list[ZooExport]:
    """Export `model` to `targets` by one `seg-export` and return its rows; raises SegError when it did not run."""
    stem = model if precision == "fp32" else f"{model}-{precision}"
    chosen = [word for target in targets for word in ("--target", target)]
    content = _run_json(
        "seg-export", str(_checkpoint(model, shop)), *chosen, "--precision", precision, "--name", stem,
        "--size", "{}x{}".format(*shop.size_hw), "--images", str(shop.images), "--out", str(shop.folder / model),
        "--json",
    )  # fmt: skip
    return [_as_export(row) for row in content["results"]]


def time_model(model: str, baseline: str, shop: Workshop, threads: int, budget_s: float, date: str) -> list[ZooTime]:
    """Time the artifacts of `model` in rounds with that of `baseline` and return those that ran.

    Artifacts that are not there yet are exported first. Raises SegError when nothing could be measured.
    """
    wanted = [(baseline, "onnx"), *((model, target) for target in TIMED_TARGETS)]
    for name in dict.fromkeys(name for name, _target in wanted):
        missing = [target for other, target in wanted if other == name and not shop.artifact(name, target).exists()]
        if missing:
            export_model(name, missing, shop)
    paths = dict.fromkeys(path for path in (shop.artifact(*pair) for pair in wanted) if path.exists())
    out = shop.folder / model / "latency.json"
    out.unlink(missing_ok=True)
    picture = sorted(path for path in shop.images.iterdir() if path.suffix in (".png", ".jpg"))[0]
    done = _run(
        "seg-bench", *map(str, paths), "--threads", str(threads), "--rounds", "200", "--budget-s", str(budget_s),
        "--images", str(picture), "--out", str(out),
    )  # fmt: skip
    if not out.exists():
        raise SegError(f"{model}: seg-bench measured nothing: {_last_line(done.stderr)}")
    own = {shop.artifact(model, target).name for target in TIMED_TARGETS}
    return [
        ZooTime(model, row.target, row.p50_ms, row.ratio_to_first, row.rounds, date)
        for row in load_report(out).rows
        if Path(row.artifact).name in own and row.p50_ms is not None and row.ratio_to_first is not None
    ]


def remove_untimed(model: str, shop: Workshop) -> None:
    """Delete the artifacts of `model` that no timing needs; all networks' together are gigabytes."""
    kept = {shop.artifact(model, target).name for target in TIMED_TARGETS}
    for path in (shop.folder / model).iterdir():
        if path.name not in kept and path.suffix in {RUNNERS.get(name).suffix for name in RUNNERS}:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _as_export(row: dict[str, Any]) -> ZooExport:
    parity = row["parity"] or {}
    output = (parity.get("outputs") or [{}])[0]
    return ZooExport(
        target=row["target"],
        precision=row["precision"],
        status=row["status"],
        converter=row["converter"],
        seconds=row["seconds"],
        bytes=row["bytes"],
        max_abs_relative=output.get("max_abs_relative"),
        label_agreement=output.get("label_agreement"),
        backend=parity.get("backend"),
        error=row["error"],
    )


def _checkpoint(model: str, shop: Workshop) -> Path:
    """Return the checkpoint of `model`; seeded weights are written where none is bundled."""
    if model in shop.trained:
        return shop.trained[model]
    path = shop.folder / model / f"{model}.pth"
    if not path.exists():
        from seg_core.models.checkpoint import save_checkpoint

        path.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(path, _seeded_checkpoint(model, shop.size_hw))
    return path


def _seeded_checkpoint(model: str, size_hw: tuple[int, int]) -> Checkpoint:
    """Return `model` with seeded weights of a trained network's size.

    Fresh weights would hide mistakes: their BatchNorms are identities and their logits nearly constant.
    """
    import torch

    from seg_core.labels import CITYSCAPES_19
    from seg_core.models import build_model
    from seg_core.models.checkpoint import Checkpoint
    from seg_core.spec import ModelSpec, PostprocessSpec, PreprocessSpec

    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    spec = ModelSpec(model, CITYSCAPES_19.num_classes)
    network = build_model(spec)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                scale = (2.0 / module.weight[0].numel()) ** 0.5
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * scale)
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.4, 1.2, generator=generator)
                for tensor, low, high in ((module.bias, -0.3, 0.3), (module.running_mean, -0.3, 0.3),
                                          (module.running_var, 0.5, 1.5)):  # fmt: skip
                    assert tensor is not None
                    tensor.uniform_(low, high, generator=generator)
    return Checkpoint(spec, PreprocessSpec(size_hw), PostprocessSpec(), CITYSCAPES_19, network.state_dict())


def _run_json(command: str, *arguments: str) -> dict[str, Any]:
    done = _run(command, *arguments)
    try:
        content: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise SegError(f"{command} {' '.join(arguments)}: {_last_line(done.stderr)}") from None
    return content


def _run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).with_name(command)
    path = str(beside) if beside.exists() else shutil.which(command)
    if path is None:
        raise SegError(f"the command {command} is not installed: run  make install")
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=False)  # noqa: S603


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
