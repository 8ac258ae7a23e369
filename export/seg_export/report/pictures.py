"""The picture section: what each artifact saw and answered, beside the reference."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.images import load_image, load_mask
from seg_core.labels import LabelSet
from seg_core.visualize import overlay
from seg_export.overlays import REFERENCE

UInt8 = npt.NDArray[np.uint8]

_JPEG_QUALITY = 88
_DIFFERENCE_BGR = (200, 40, 255)


@dataclass(frozen=True)
class Answer:
    """A label map uint8 (h, w) and what it is shown as."""

    caption: str
    labels: UInt8


def draw_image_section(folder: Path, artifacts: Sequence[tuple[str, str]], label_set: LabelSet) -> str:
    """Return the section of one image as HTML, empty when its pictures are not all there.

    `artifacts` are (file name, caption). Raises ImageError when a picture is damaged.
    """
    reference_file = folder / f"{REFERENCE}.labels.png"
    present = [(file, caption) for file, caption in artifacts if (folder / f"{file}.labels.png").is_file()]
    if not present or not reference_file.is_file() or not (folder / "input.png").is_file():
        return ""
    image = load_image(folder / "input.png")
    reference = Answer("checkpoint", load_mask(reference_file))
    answers = [Answer(caption, load_mask(folder / f"{file}.labels.png")) for file, caption in present]
    figures = [
        _figure(image, "input", "what the network saw"),
        _figure(_tint(image, reference.labels, label_set), reference.caption, "eager fp32 torch, the reference"),
    ]
    for answer in answers:
        different = _different(answer.labels, reference.labels)
        count = int(different.sum())
        words = f"{count:,} of {different.size:,} pixels differ" if count else "every pixel agrees"
        figures.append(_figure(_tint(image, answer.labels, label_set), answer.caption, words))
        if count:
            figures.append(_figure(_mark(image, different), f"{answer.caption}: difference", "squares mark the pixels"))
    legend = _legend([reference, *answers], label_set)
    table = _class_table([reference, *answers], label_set)
    return (
        f"<section class='card'><h3>{escape(folder.name)}</h3><div class='gallery'>{''.join(figures)}</div>{legend}"
        f"<details><summary>Pixels per class</summary><div class='scroll'>{table}</div></details></section>"
    )


def _different(labels: UInt8, reference: UInt8) -> npt.NDArray[np.bool_]:
    if labels.shape != reference.shape:
        return np.ones(reference.shape, np.bool_)
    return np.asarray(labels != reference)


def _tint(image_bgr: UInt8, labels: UInt8, label_set: LabelSet) -> UInt8:
    if labels.shape != image_bgr.shape[:2]:
        labels = np.asarray(cv2.resize(labels, image_bgr.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    return overlay(image_bgr, labels, label_set)


def _mark(image_bgr: UInt8, different: npt.NDArray[np.bool_]) -> UInt8:
    """Return the picture in dim grey with a ring around every differing pixel; one alone would not be seen."""
    grey = cv2.cvtColor(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    marked = np.asarray(grey // 2 + 40, np.uint8)
    if different.shape != marked.shape[:2]:
        resized = cv2.resize(different.astype(np.uint8), marked.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        different = np.asarray(resized) > 0
    around = np.ones((7, 7), np.uint8)
    ring = cv2.dilate(different.astype(np.uint8), around) - cv2.dilate(different.astype(np.uint8), around[:5, :5])
    marked[(ring > 0) | different] = _DIFFERENCE_BGR
    return marked


def _figure(image_bgr: UInt8, caption: str, words: str) -> str:
    written, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert written
    source = base64.b64encode(data.tobytes()).decode("ascii")
    height, width = image_bgr.shape[:2]
    return (
        f"<figure><img src='data:image/jpeg;base64,{source}' width='{width}' height='{height}' "
        f"alt='{escape(caption, quote=True)}'>"
        f"<figcaption><b>{escape(caption)}</b><br>{escape(words)}</figcaption></figure>"
    )


def _class_table(answers: Sequence[Answer], label_set: LabelSet) -> str:
    counts = [np.bincount(answer.labels.ravel(), minlength=256) for answer in answers]
    head = "".join(f"<th>{escape(answer.caption)}</th>" for answer in answers)
    rows = []
    for index, name in enumerate(label_set.names):
        if not any(count[index] for count in counts):
            continue
        cells = "".join(_count_cell(int(count[index]), int(counts[0][index])) for count in counts)
        rows.append(f"<tr><th>{_swatch(label_set, index)}{escape(name)}</th>{cells}</tr>")
    return f"<table><thead><tr><th>class</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _legend(answers: Sequence[Answer], label_set: LabelSet) -> str:
    present = {int(index) for answer in answers for index in np.unique(answer.labels)}
    entries = [
        f"<span>{_swatch(label_set, index)}{escape(name)}</span>"
        for index, name in enumerate(label_set.names)
        if index in present
    ]
    return f"<p class='legend'>{''.join(entries)}</p>"


def _swatch(label_set: LabelSet, index: int) -> str:
    red, green, blue = label_set.palette[index]
    return f"<i class='swatch' style='background:rgb({red},{green},{blue})'></i>"


def _count_cell(count: int, reference: int) -> str:
    change = count - reference
    return f"<td>{count:,}{f' <small>{change:+,}</small>' if change else ''}</td>"
