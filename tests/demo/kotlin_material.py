"""What the Kotlin tests of parity are run on: exported networks, photographs, and what Python makes of them."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from browser_material import SAMPLES
from test_web_sources import carry_cases, draw_bytes

from seg_core import (
    Postprocessor,
    PostprocessSpec,
    Predictor,
    PreprocessSpec,
    Roi,
    SpecError,
    TensorSpec,
    plan_geometry,
    reference_preprocess,
)
from seg_core.manifest import load_manifest, manifest_path, parse_manifest
from seg_core.prior import carry_labels
from seg_core.spec import to_json
from seg_demo.golden import hash_bytes

#: Two of the sample photographs; the third has three million pixels and says nothing new.
PHOTOS = ("astronaut.png", "grace_hopper.png")

#: Changes to a real manifest's text that every reader must refuse, and what the message must name.
REFUSED = (
    ('"size_hw"', '"size_wh"', "preprocess."),
    ('"rgb"', '"rbg"', "preprocess.color"),
    ('"pad_value": 114', '"pad_value": 114.5', "preprocess.pad_value"),
    ('"resize": "labels"', '"resize": "nearest"', "postprocess.resize"),
    ('"schema_version": 1', '"schema_version": 2', "manifest.schema_version"),
    ('"ignore_index": 255', '"ignore_index": 256', "labels"),
    ('"num_classes": 19', '"num_classes": 18', "manifest.labels"),
    ('"graph": {', '"graph": {"softmax": false,', "graph.softmax"),
    ('"labels"', "labels", "not valid JSON"),
)


#: The lines that the README shows, run on the first photograph.
EXAMPLE_TEST = """package segproof

IMPORTS
import org.junit.Assert.assertArrayEquals
import org.junit.Test

class ExampleTest {
    @Test
    fun linesOfTheReadmeGivePythonsLabels() {
        val bytes = File("FOLDER/PICTURE").readBytes()
        val (height, width) = listOf(HEIGHT, WIDTH)
        fun yourRuntime(tensor: Values): Values {
            val opened = Manifest.parse(File("FOLDER/MODEL.json").readText())
            return OrtBackend("LIBRARY", "FOLDER/MODEL", opened).use { it.run(tensor) }
        }
LINES
        assertArrayEquals(File("FOLDER/EXPECTED").readBytes(), labels)
    }
}
"""


def write_material(folder: Path, models: dict[str, Path], example: str) -> None:
    """Write `cases.json`, what it names, and a test of the Kotlin lines `example` into `folder`."""
    networks = [
        case
        for model in _vary_contracts(folder, models)
        for photo in PHOTOS
        for case in _label_photo(folder, model, photo)
    ]
    text = manifest_path(models["onnx"]).read_text(encoding="utf-8")
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    cases = {"onnxruntime": str(library), "networks": networks, "priors": list(_feed_priors())}
    cases["outputs"] = list(_label_outputs(folder))
    cases["refused"] = [_refuse(text, *change) for change in REFUSED]
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    first = next(case for case in networks if case["model"] == models["onnx"].name and case["roi"] is None)
    (folder / "ExampleTest.kt").write_text(_wrap_example(folder, example, first, library), encoding="utf-8")


def _wrap_example(folder: Path, example: str, case: dict[str, Any], library: Path) -> str:
    lines = example.replace('File("model.onnx', f'File("{folder}/{case["model"]}').splitlines()
    imports = [line for line in lines if line.startswith("import ") and line != "import segproof.*"]
    height, width = case["size_hw"]
    words = {
        "IMPORTS": "\n".join(imports),
        "LINES": "\n".join(line for line in lines if not line.startswith("import ")),
        "FOLDER": str(folder),
        "PICTURE": case["picture"],
        "HEIGHT": str(height),
        "WIDTH": str(width),
        "MODEL": case["model"],
        "LIBRARY": str(library),
        "EXPECTED": case["labels"],
    }
    return re.sub("|".join(words), lambda match: words[match.group()], EXAMPLE_TEST)


def _vary_contracts(folder: Path, models: dict[str, Path]) -> list[Path]:
    """Copy the networks as they are, and the ONNX one under two other contracts."""
    copies = []
    for source in models.values():
        for path in (source, manifest_path(source)):
            shutil.copyfile(path, folder / path.name)
        copies.append(folder / source.name)
    manifest = load_manifest(models["onnx"])
    letterbox = replace(manifest.preprocess, resize="letterbox", reduce="halve", pad_value=7)
    cropped = replace(manifest.preprocess, resize="center_crop", interpolation="nearest")
    contracts = {
        "letterbox": (letterbox, PostprocessSpec("logits", 3)),
        "cropped": (cropped, PostprocessSpec("labels", 18)),
    }
    for name, (preprocess, postprocess) in contracts.items():
        path = folder / f"{name}.onnx"
        shutil.copyfile(models["onnx"], path)
        changed = replace(manifest, preprocess=preprocess, postprocess=postprocess)
        manifest_path(path).write_text(changed.to_json(), encoding="utf-8")
        copies.append(path)
    return copies


def _label_photo(folder: Path, model: Path, photo: str) -> list[dict[str, Any]]:
    image_bgr = cv2.imread(str(SAMPLES / photo))
    (folder / f"{photo}.bgr").write_bytes(image_bgr.tobytes())
    face = json.loads((SAMPLES / "rois.json").read_text(encoding="utf-8"))[photo]
    cases = []
    with Predictor.open(model) as predictor:
        for roi in (None, face):
            name = f"{model.name}.{photo}.{'whole' if roi is None else 'face'}"
            region = roi and Roi(*roi)
            prepared = predictor.preprocessor(image_bgr, region)
            output = predictor.runner.run({predictor.input.name: prepared.tensor})[predictor.output.name]
            labels = predictor.postprocessor(output, predictor.output, prepared.geometry)
            assert len(np.unique(labels)) > 5  # a face has parts
            (folder / f"{name}.labels").write_bytes(labels.tobytes())
            recorded = None
            if model.suffix != ".onnx":
                recorded = f"{name}.output"
                (folder / recorded).write_bytes(output.tobytes())
            # OpenCV's bilinear scores differ in last bits from processor to processor.
            may_differ = labels.size // 20_000 if predictor.postprocessor.spec.resize == "logits" else 0
            cases.append(
                {
                    "model": model.name,
                    "picture": f"{photo}.bgr",
                    "size_hw": list(image_bgr.shape[:2]),
                    "roi": roi,
                    "tensor_fnv1a64": hash_bytes(prepared.tensor.tobytes()),
                    "labels": f"{name}.labels",
                    "recorded": recorded,
                    "may_differ": may_differ,
                }
            )
    return cases


def _feed_priors() -> Iterator[dict[str, Any]]:
    for spec, seed, before, after, roi_before, roi_after in carry_cases():
        height, width = spec.size_hw
        labels = (draw_bytes(seed, height * width) % 4).reshape(height, width)
        old = plan_geometry(before, spec, roi_before and Roi(*roi_before))
        new = plan_geometry(after, spec, roi_after and Roi(*roi_after))
        picture_bgr = draw_bytes(seed, after[0] * after[1] * 3).reshape(*after, 3)
        prior = carry_labels(labels, old, new)
        tensor, _ = reference_preprocess(spec, picture_bgr, roi_after and Roi(*roi_after), prior)
        yield (
            {"spec": to_json(spec), "seed": seed, "before": before, "after": after, "roi_before": roi_before}
            | {"roi_after": roi_after, "fnv1a64": hash_bytes(tensor.tobytes())}
        )


def _label_outputs(folder: Path) -> Iterator[dict[str, Any]]:
    """Drawn outputs of every kind, at the network's size and at fractions of it."""
    generator = np.random.default_rng(5)
    kinds = (("logits", "nchw", "float32"), ("logits", "nhwc", "float32"), ("labels", "nhw", "uint8"))
    kinds = (*kinds, ("labels", "nhw", "int32"), ("labels", "nhw", "int64"))
    ways = itertools.product(kinds, ("labels", "logits"), ("stretch", "letterbox", "center_crop"), (1, 4))
    for index, ((role, layout, dtype), way, policy, fraction) in enumerate(ways):
        height, width = 32 // fraction, 24 // fraction
        shape = {"nchw": (1, 5, height, width), "nhwc": (1, height, width, 5), "nhw": (1, height, width)}[layout]
        drawn = generator.normal(size=shape) if role == "logits" else generator.integers(0, 256, shape)
        values = drawn.astype(dtype)
        tensor = TensorSpec("y", role, shape, dtype, layout)
        preprocess = PreprocessSpec((32, 24), resize=policy)
        postprocess = PostprocessSpec(way, outside_label=index)
        roi = (3, 5, 40, 37) if index % 2 else None
        geometry = plan_geometry((61, 47), preprocess, roi and Roi(*roi))
        postprocessor = Postprocessor(postprocess)
        (folder / f"output{index}").write_bytes(values.tobytes())
        (folder / f"output{index}.network").write_bytes(
            postprocessor.network_labels(values, tensor, geometry).tobytes()
        )
        (folder / f"output{index}.source").write_bytes(postprocessor(values, tensor, geometry).tobytes())
        yield (
            {"preprocess": to_json(preprocess), "postprocess": to_json(postprocess), "output": to_json(tensor)}
            | {"values": f"output{index}", "source": (61, 47), "roi": roi}
        )


def _refuse(text: str, old: str, new: str, words: str) -> dict[str, str]:
    changed = text.replace(old, new, 1)
    assert changed != text, old
    with pytest.raises(SpecError, match=words):
        parse_manifest(changed, "changed.json")
    return {"text": changed, "words": words}
