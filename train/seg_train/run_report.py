"""One page about a run: curves, classes, what validation images look like. It needs nothing from outside itself."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.atomic import replacing
from seg_core.errors import SegError
from seg_core.labels import LabelSet
from seg_core.metrics import ConfusionMatrix
from seg_core.visualize import overlay
from seg_train.curves import Curve, draw_curves
from seg_train.events import EndEvent, EvaluationEvent, Event, Sample, StartEvent
from seg_train.history import History
from seg_train.log_lines import MEASURES, loss_labels
from seg_train.pictures import draw_confusion

UInt8 = npt.NDArray[np.uint8]

#: Rows of the history hold these beside the losses.
_NO_LOSS = frozenset({"step", "epoch", "lr", "step_ms", "data_ms", "max_memory_mb"})


@dataclass(frozen=True)
class ReportState:
    """What a page shows beside the history: the latest evaluation and, when the run is over, its end."""

    start: StartEvent
    evaluation: EvaluationEvent
    end: EndEvent | None = None


class ReportListener:
    """Write `report.html` anew at every evaluation and at the end of the run."""

    def __init__(
        self,
        path: Path,
        labels: LabelSet,
        title: str,
        facts: Mapping[str, str],
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        """Write to `path`, beside which the run keeps its history.json; `facts` are shown as they are, by name."""
        self._path = path
        self._labels = labels
        self._title = title
        self._facts = facts
        self._clock = clock
        self._history = History(path.with_name("history.json"), labels.names)
        self._start: StartEvent | None = None
        self._state: ReportState | None = None

    def __call__(self, event: Event) -> None:
        """Take in one event; raises SegError when the page cannot be written."""
        self._history(event)
        if isinstance(event, StartEvent):
            self._start = event
        elif isinstance(event, EvaluationEvent) and self._start is not None:
            self._state = ReportState(self._start, event)
            self._save()
        elif isinstance(event, EndEvent) and self._state is not None:
            self._state = ReportState(self._state.start, self._state.evaluation, event)
            self._save()

    def _save(self) -> None:
        assert self._state is not None
        page = build_page(self._title, self._facts, self._history, self._state, self._labels, self._clock())
        try:
            with replacing(self._path) as draft:
                draft.write_text(page, encoding="utf-8")
        except OSError as error:
            raise SegError(
                f"{self._path}: the report cannot be written ({error.strerror}); make room or choose another output"
            ) from None


def build_page(
    title: str, facts: Mapping[str, str], history: History, state: ReportState, labels: LabelSet, now: datetime
) -> str:
    """Return the page as one HTML document; every text from outside is escaped."""
    style = files("seg_train").joinpath("run_report.css").read_text(encoding="utf-8")
    matrix = state.evaluation.matrix
    before = history.evaluations[-2] if len(history.evaluations) > 1 else None
    sections = (
        _head(title, history, state, now),
        _section("Curves", f"<div class='charts'>{_charts(history)}</div>"),
        _section("Validation images", _trios(state.evaluation.samples, labels)),
        _section("Classes", f"<div class='card scroll'>{_class_table(matrix, labels, before)}</div>"),
        _section("Confusion", _confusion(matrix, labels)),
        _section("Settings", _settings(facts)),
    )
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{body}</section>" if body else ""


def _head(title: str, history: History, state: ReportState, now: datetime) -> str:
    start, evaluation, end = state.start, state.evaluation, state.end
    scored = [row for row in history.evaluations if row["miou"] is not None]
    best = max(scored, key=lambda row: row["miou"], default=None)
    last = history.steps[-1] if history.steps else None
    if end is None:
        words = f"running, step {evaluation.step:,} of {evaluation.steps:,}"
    else:
        words = f"finished after {evaluation.step:,} steps in {timedelta(seconds=round(end.seconds))}"
    devices = f"{start.world_size} × {start.device}" if start.world_size > 1 else start.device
    tiles = [
        ("best mIoU", "–" if best is None else f"{best['miou']:.4f}"),
        ("at step", "–" if best is None else f"{best['step']:,}"),
        ("latest mIoU", _score(evaluation.matrix.mean_iou())),
        ("pixel accuracy", _score(evaluation.matrix.pixel_accuracy())),
        ("training images", f"{start.train_images:,}"),
        ("validation images", f"{start.val_images:,}"),
        ("a step", "–" if last is None else f"{last['step_ms']:.1f} ms"),
        ("parameters", f"{start.parameters / 1e6:.2f} M"),
    ]
    boxes = "".join(f"<div class='card'><span>{escape(name)}</span><b>{escape(text)}</b></div>" for name, text in tiles)
    return (
        f"<h1>{escape(title)}</h1><p class='soft'>{escape(words)} · {escape(devices)} · written "
        f"{now:%Y-%m-%d %H:%M:%S}</p><div class='tiles'>{boxes}</div>"
    )


def _charts(history: History) -> str:
    steps, evaluations = history.steps, history.evaluations
    names = list(dict.fromkeys(name for row in steps for name in row if name not in _NO_LOSS))
    losses = [_curve(label, steps, name) for name, label in loss_labels(names)]
    scores = [("mIoU", "miou"), ("Dice", "mean_dice"), ("class accuracy", "mean_accuracy")]
    measures = [(name, [_curve(name, steps, name)], 0.0) for name in MEASURES if name in names]
    charts = (
        ("Training loss", losses, 0.0),
        ("Validation scores", [_curve(label, evaluations, key) for label, key in scores], None),
        ("Learning rate", [_curve("lr", steps, "lr")], 0.0),
        (
            "Time of a step",
            [_curve("step, ms", steps, "step_ms"), _curve("waiting for data, ms", steps, "data_ms")],
            0.0,
        ),
        *measures,
    )
    return "".join(
        f"<div class='card'><h3>{escape(title)}</h3>{draw_curves(title, curves, floor=floor)}</div>"
        for title, curves, floor in charts
    )


def _curve(label: str, rows: Sequence[Mapping[str, Any]], key: str) -> Curve:
    return Curve(label, [(row["step"], row.get(key)) for row in rows])


def _class_table(matrix: ConfusionMatrix, labels: LabelSet, before: Mapping[str, Any] | None) -> str:
    pixels = matrix.class_pixels()
    scores = zip(matrix.class_iou(), matrix.class_dice(), matrix.class_accuracy(), strict=True)
    earlier = {} if before is None else before["per_class"]
    rows = []
    for index, (iou, dice, accuracy) in enumerate(scores):
        red, green, blue = labels.palette[index]
        name = labels.names[index]
        width = 0.0 if np.isnan(iou) else 100 * float(iou)
        rows.append(
            f"<tr><th><i class='swatch' style='background:rgb({red},{green},{blue})'></i>{escape(name)}</th>"
            f"<td class='bar-cell'><span class='bar'><i style='width:{width:.1f}%'></i></span></td>"
            f"<td>{_score(float(iou))}</td>{_change(float(iou), earlier.get(name))}<td>{_score(float(dice))}</td>"
            f"<td>{_score(float(accuracy))}</td><td>{pixels[index] / max(1, pixels.sum()):.2%}</td></tr>"
        )
    return (
        "<table><thead><tr><th>class</th><th></th><th>IoU</th><th>since last</th><th>Dice</th><th>accuracy</th>"
        f"<th>of all pixels</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def _change(iou: float, earlier: float | None) -> str:
    if earlier is None or np.isnan(iou):
        return "<td></td>"
    change = iou - earlier
    tone = "up" if change > 5e-5 else "down" if change < -5e-5 else "soft"
    return f"<td class='{tone}'>{change:+.4f}</td>"


def _score(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4f}"


def _trios(samples: Sequence[Sample], labels: LabelSet) -> str:
    cards = []
    for sample in samples:
        counted = sample.truth != labels.ignore_index
        right = float((sample.predicted == sample.truth)[counted].mean()) if counted.any() else float("nan")
        figures = (
            _figure(sample.image_bgr, "picture"),
            _figure(overlay(sample.image_bgr, sample.truth, labels), "truth"),
            _figure(overlay(sample.image_bgr, sample.predicted, labels), f"prediction, {right:.1%} right"),
        )
        cards.append(f"<div class='card'><div class='trio'>{''.join(figures)}</div></div>")
    return f"<div class='trios'>{''.join(cards)}</div>" if cards else ""


def _figure(image_bgr: UInt8, caption: str) -> str:
    return f"<figure>{_image(image_bgr, caption, '.jpg')}<figcaption>{escape(caption)}</figcaption></figure>"


def _confusion(matrix: ConfusionMatrix, labels: LabelSet) -> str:
    picture = _image(draw_confusion(matrix, labels.names), "confusion matrix", ".png")
    return (
        "<div class='card confusion'><p class='soft'>Rows are the truth, columns the prediction; numbers are per cent "
        f"of the row's pixels.</p>{picture}</div>"
    )


def _image(image_bgr: UInt8, alt: str, suffix: str) -> str:
    """Return an <img> that holds the picture: photographs as .jpg, which is a tenth of the size, drawings as .png."""
    written, data = cv2.imencode(suffix, image_bgr)
    assert written  # eight-bit pictures in memory always encode
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    source = base64.b64encode(data.tobytes()).decode("ascii")
    height, width = image_bgr.shape[:2]
    return f"<img src='data:image/{kind};base64,{source}' width='{width}' height='{height}' alt='{escape(alt)}'>"


def _settings(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
    return f"<div class='card'><dl>{rows}</dl></div>" if rows else ""
