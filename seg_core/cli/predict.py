"""`seg-predict`: label images, a directory of images or a video."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seg_core.cli.command import THREADS, SegCommand, click
from seg_core.cli.convention import model_options, say_convention
from seg_core.cli.crf import CRF_HELP, CrfChoice, choose_crf, parse_crf
from seg_core.cli.outputs import KINDS, Plan, count_labels, is_video, make_directory, make_record, plan_outputs
from seg_core.cli.regions import RegionChooser, parse_region
from seg_core.cli.videos import predict_video
from seg_core.convention import StatedConvention, foreign_provenance
from seg_core.errors import ConfigError, ImageError
from seg_core.geometry import Roi
from seg_core.images import list_images, load_image, save_image
from seg_core.labels import LabelSet
from seg_core.manifest import load_manifest
from seg_core.postprocessing import Postprocessor
from seg_core.predictor import Prediction, Predictor
from seg_core.visualize import compare_view, overlay

UInt8 = npt.NDArray[np.uint8]
Say = Callable[[str], None]

_FULL_NOTE = (
    "note: the whole image goes to the network (--roi full); a face-parsing network expects one face, head and "
    "shoulders, to fill it: --roi face or --roi TOP,LEFT,SIDE"
)


def _parse_kinds(ctx: click.Context, param: click.Parameter, value: str) -> list[str]:
    kinds = list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    wrong = [kind for kind in kinds if kind not in KINDS]
    if wrong or not kinds:
        raise click.BadParameter(f"{value!r}: choose from {', '.join(KINDS)}", ctx, param)
    return kinds


_EXAMPLES = (
    "seg-predict model.onnx photo.jpg --roi face --out photo_overlay.png",
    "seg-predict ckpt.pth photos/ --roi 60,50,1214 --save overlay,mask --out results/",
    "seg-predict model.tflite clip.mp4 --roi face --redetect 30 --out clip_overlay.mp4",
    "seg-predict ckpt.pth photo.jpg --roi face --crf on --out photo_refined.png",
)


@click.command("seg-predict", cls=SegCommand, examples=_EXAMPLES)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Output file, or directory (made if needed)."
)
@click.option("--roi", metavar="REGION", default="full", show_default=True, callback=parse_region,
              help="What the network gets to see: full, face or numbers as above.")  # fmt: skip
@click.option("--save", metavar="KINDS", default="overlay", show_default=True, callback=_parse_kinds,
              help="Comma-separated: overlay, mask (class indices), side (picture, overlay, colours).")  # fmt: skip
@click.option("--opacity", type=click.FloatRange(0, 1), default=0.55, show_default=True, help="Of the class colours.")
@click.option("--threads", type=THREADS, help="Threads of the runtime. [default: the runtime's choice]")
@click.option("--redetect", type=click.IntRange(min=1), metavar="N",
              help="With --roi face and a video: look for the face again every N frames.")  # fmt: skip
@click.option("--crf", metavar="SETTINGS", callback=parse_crf, help=CRF_HELP)
@model_options()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list on stdout; text goes to stderr.")
def predict_command(
    model: Path, source: Path, out: Path, roi: str | Roi, save: list[str], opacity: float,
    threads: int | None, redetect: int | None, crf: CrfChoice | None,
    convention: StatedConvention, as_json: bool,
) -> None:  # fmt: skip
    """Label SOURCE (an image, a directory of images or a video) with MODEL (a checkpoint or any artifact).

    --roi is full (the whole picture), face (the largest face, found by OpenCV's detector), TOP,LEFT,SIDE or
    TOP,LEFT,HEIGHT,WIDTH in pixels.

    What a checkpoint from elsewhere does not say itself is assumed, printed, and changed by --mean, --std, --color,
    --labels and --size.
    """

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    if redetect is not None and (roi != "face" or not is_video(source)):
        raise ConfigError("--redetect: only has a meaning with --roi face and a video")
    files = [source] if is_video(source) else list_images(source)
    plan = plan_outputs(source, files, out, save, model)
    chooser = RegionChooser(roi)
    records: list[dict[str, Any]] = []
    failed = 0
    manifest = load_manifest(model, stated=convention)
    say_convention(str(model), manifest.provenance)
    with Predictor.open(model, threads, manifest) as predictor:
        post = predictor.postprocessor.spec
        predictor.postprocessor = Postprocessor(replace(post, crf=choose_crf(crf, post.crf)))
        if roi == "full":
            say(_FULL_NOTE)
        render = make_renderer(predictor.labels, opacity, whole_legend=is_video(source))
        if is_video(source):
            records.append(predict_video(predictor, source, plan[source], chooser, redetect, render, say))
        else:
            failed = _predict_images(predictor, plan, chooser, render, say, records)
    if as_json:
        foreign = foreign_provenance(manifest.provenance)
        records = [record | ({} if foreign is None else {"provenance": foreign}) for record in records]
        click.echo(json.dumps(records, indent=2))
    if failed:
        raise ImageError(f"{failed} of {len(plan)} images failed; the others are written")


def make_renderer(labels: LabelSet, opacity: float, whole_legend: bool) -> Callable[[str, UInt8, UInt8], UInt8]:
    """Return a function (kind, image_bgr, labels) -> what is saved for that kind."""
    classes = range(labels.num_classes) if whole_legend else None

    def render(kind: str, image_bgr: UInt8, label_map: UInt8) -> UInt8:
        if kind == "mask":
            return label_map
        if kind == "overlay":
            return overlay(image_bgr, label_map, labels, opacity)
        return compare_view(image_bgr, label_map, labels, opacity, classes)

    return render


def _predict_images(
    predictor: Predictor,
    plan: Plan,
    chooser: RegionChooser,
    render: Callable[[str, UInt8, UInt8], UInt8],
    say: Say,
    records: list[dict[str, Any]],
) -> int:
    """Label every image of `plan`, append a record for each, and return how many could not be read."""
    failed = 0
    for source, outputs in plan.items():
        try:
            image = load_image(source)
            prediction, remark = _predict_one(predictor, source, image, chooser)
        except ImageError as error:
            if len(plan) == 1:
                raise
            click.echo(f"error: {error}", err=True)
            failed += 1
            continue
        for kind, path in outputs.items():
            make_directory(path.parent)
            save_image(path, render(kind, image, prediction.labels))
        counts = count_labels(prediction.labels)
        records.append(
            make_record(source, outputs, prediction.geometry, counts, predictor.labels, prediction.timings_ms)
        )
        say(_line(records[-1], remark))
    return failed


def _predict_one(predictor: Predictor, source: Path, image: UInt8, chooser: RegionChooser) -> tuple[Prediction, str]:
    try:
        roi, remark = chooser.choose(image)
        return predictor.predict(image, roi), remark
    except ImageError as error:
        raise ImageError(f"{source}: {error}") from None


def _line(record: Mapping[str, Any], remark: str) -> str:
    height, width = record["size_hw"]
    pixels: Mapping[str, int] = record["class_pixels"]
    largest = sorted(pixels, key=lambda name: -pixels[name])[:4]
    shares = ", ".join(f"{name} {100 * pixels[name] / (height * width):.0f} %" for name in largest if pixels[name])
    region = ",".join(map(str, record["roi"])) + (f" ({remark})" if remark else "")
    written = ", ".join(record["outputs"].values())
    time_ms = record["timings_ms"]["total"]
    return f"{record['source']}: {width}x{height}, region {region}, {time_ms:.1f} ms: {shares} -> {written}"
