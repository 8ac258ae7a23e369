"""Put the page together: verdict, table, charts, pictures, origin."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from seg_core.atomic import replacing
from seg_core.errors import ExportError
from seg_core.manifest import Manifest
from seg_export.install import unwritable
from seg_export.report.charts import Bar, draw_bars, draw_log_bars
from seg_export.report.collect import ReportData, ReportRow
from seg_export.report.pictures import draw_image_section

EVALUATOR_NOTE = (
    "Core ML programs were run by an evaluator of the saved program, not by Apple's runtime: that checks the program, "
    "not the Neural Engine."
)
INTERPRETER_NOTE = (
    "Core AI programs were run by Apple's interpreter for systems without Core AI, on the CPU: that checks the "
    "program, not the Neural Engine."
)


def build_page(data: ReportData, title: str | None = None) -> str:
    """Return the whole report as one HTML document that needs nothing from outside itself."""
    style = files("seg_export.report").joinpath("page.css").read_text(encoding="utf-8")
    title = title or f"{data.rows[0].manifest.model.name}: from checkpoint to phone, measured"
    sections = (
        _verdict(data, title),
        _section("Artifacts", f"<div class='card scroll'>{_table(data.rows)}</div>"),
        _section("Measured", f"<div class='charts'>{_charts(data.rows)}</div>"),
        _section("On images", _pictures(data)),
        _section("Where it comes from", f"<div class='card'>{_origin(data)}</div>"),
    )
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )


def save_report(path: str | Path, page: str) -> None:
    """Write `page` to `path`, whole or not at all; raises ExportError when that is impossible."""
    path = Path(path)
    if path.exists() and path.suffix.lower() not in (".html", ".htm"):
        raise ExportError(f"{path}: is there and no page; choose an --out that ends in .html")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.write_text(page, encoding="utf-8")
    except OSError as error:
        raise unwritable(path.parent, error) from None


def _section(heading: str, body: str) -> str:
    return f"<h2>{escape(heading)}</h2>{body}" if body else ""


def _verdict(data: ReportData, title: str) -> str:
    judged = [row.parity for row in data.rows if row.parity is not None]
    passed = [report for report in judged if report.passed]
    if len(passed) == len(data.rows):
        words = f"<span class='good'>✓ All {len(passed)} artifacts reproduce the checkpoint within tolerance.</span>"
    elif len(passed) == len(judged):
        share = f"{len(passed)} of {len(data.rows)}"
        words = f"<span class='warn'>{share} artifacts are proved; the others were not compared.</span>"
    else:
        failed = len(judged) - len(passed)
        words = f"<span class='bad'>✗ {failed} of {len(data.rows)} artifacts are beyond tolerance.</span>"
    image_count = len(judged[0].outputs[0].images) if judged else 0
    kind = {"real": "photographs", "synthetic": "synthetic images"}[judged[0].images] if judged else "images"
    height, width = data.rows[0].manifest.preprocess.size_hw
    backends = {row.parity.backend for row in data.rows if row.parity is not None}
    notes = (("evaluator", EVALUATOR_NOTE), ("core ai interpreter", INTERPRETER_NOTE))
    note = "".join(f"<p class='soft'>{text}</p>" for backend, text in notes if backend in backends)
    return (
        f"<h1>{escape(title)}</h1><p class='verdict'>{words}</p>"
        f"<p class='soft'>Compared on {image_count} {kind} at {height}×{width}, preprocessing included.</p>{note}"
    )


def _table(rows: Iterable[ReportRow]) -> str:
    head = ("target", "parity", "file", "precision", "MB", "max-abs", "× max|ref|", "labels equal", "p50 latency")
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(row))}</tr>" for row in rows)
    names = "".join(f"<th>{name}</th>" for name in head)
    return f"<table class='artifacts'><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: ReportRow) -> list[str]:
    info = row.manifest.artifact
    cells = [row.file, info.precision, f"{row.bytes / 1e6:.1f}"]
    if row.parity is None:
        cells += ["–", "–", "–"]
        verdict = "<span class='warn'>not verified</span>"
    else:
        output = row.parity.outputs[0]
        cells += [
            figure_text(output.max_abs),
            figure_text(output.max_abs_relative),
            percent_text(output.label_agreement),
        ]
        verdict = "<span class='good'>✓</span>" if row.parity.passed else "<span class='bad'>✗ failed</span>"
    return [escape(info.target), verdict, *map(escape, [*cells, row.p50_text])]


def figure_text(value: float | None) -> str:
    """Return a difference with two digits, or "not finite"."""
    return "not finite" if value is None else f"{value:.1e}"


def percent_text(share: float) -> str:
    """Return a share in percent, rounded down so that only perfect agreement reads 100 %."""
    return "100 %" if share == 1.0 else f"{int(share * 1e6) / 1e4:.4f} %"


def _charts(rows: tuple[ReportRow, ...]) -> str:
    cards = []
    timed = [
        Bar(_caption(row) + ("" if figure.threads is None else f" ×{figure.threads}"), figure.p50_ms,
            "not timed" if figure.p50_ms is None else f"{figure.p50_ms:.1f} ms")
        for row in rows
        for figure in row.latency
    ]  # fmt: skip
    if any(bar.value is not None for bar in timed):
        cards.append(_card("Median latency (×threads); shorter is better", draw_bars("latency", timed)))
    judged = [row for row in rows if row.parity is not None and row.parity.tolerance.max_abs_relative is not None]
    if judged:
        bound = min(row.parity.tolerance.max_abs_relative or 1.0 for row in judged if row.parity)
        bars = [_difference_bar(row) for row in judged]
        cards.append(_card("Largest difference, × max|ref|", draw_log_bars("difference", bars, bound)))
    sizes = [Bar(_caption(row), row.bytes / 1e6, f"{row.bytes / 1e6:.1f} MB") for row in rows]
    cards.append(_card("Size on disk", draw_bars("size", sizes)))
    return "".join(cards)


def _difference_bar(row: ReportRow) -> Bar:
    assert row.parity is not None
    value = row.parity.outputs[0].max_abs_relative
    tone = "bar" if row.parity.passed else "over"
    return Bar(_caption(row), value, figure_text(value), tone)


def _card(heading: str, body: str) -> str:
    return f"<div class='card'><h3>{escape(heading)}</h3>{body}</div>"


def _pictures(data: ReportData) -> str:
    captions = [(row.file, _caption(row)) for row in data.rows]
    labels = data.rows[0].manifest.labels
    judged = {
        image.image for row in data.rows if row.parity for output in row.parity.outputs for image in output.images
    }
    # Folders of images that no present report is about were left by earlier runs.
    folders = [folder for folder in data.overlays if folder.name in judged]
    return "".join(draw_image_section(folder, captions, labels) for folder in folders)


def _caption(row: ReportRow) -> str:
    info = row.manifest.artifact
    return info.target if info.precision == "fp32" else f"{info.target} {info.precision}"


def _origin(data: ReportData) -> str:
    manifest = data.rows[0].manifest
    checkpoint: dict[str, Any] = dict(manifest.provenance.get("checkpoint", {}))
    facts = [
        ("checkpoint", f"{checkpoint.get('file', '?')}, SHA-256 {str(checkpoint.get('sha256', '?'))[:16]}…"),
        ("network", f"{manifest.model.name}, {manifest.model.num_classes} classes"),
        ("preprocessing", _describe_preprocessing(manifest)),
        *((f"{key} (training)", f"{value:.4g}") for key, value in _numbers(checkpoint.get("metrics"))),
        *((row.file, _describe_artifact(row)) for row in data.rows),
        *((key, str(data.environment[key])) for key in ("cpu", "cores", "os", "python") if key in data.environment),
    ]
    return "<dl>" + "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts) + "</dl>"


def _numbers(metrics: Any) -> list[tuple[str, float]]:
    if not isinstance(metrics, dict):
        return []
    return [(str(k), float(v)) for k, v in metrics.items() if isinstance(v, (int, float)) and not isinstance(v, bool)]


def _describe_preprocessing(manifest: Manifest) -> str:
    spec = manifest.preprocess
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (spec.mean, spec.std))
    return (
        f"{spec.size_hw[0]}×{spec.size_hw[1]} {spec.color}, {spec.resize}, {spec.interpolation}, "
        f"((x × {spec.scale:.6g}) - mean {mean}) / std {std}"
    )


def _describe_artifact(row: ReportRow) -> str:
    origin = row.manifest.provenance
    notes = "; ".join(str(note) for note in origin.get("prepared", []))
    made = f"{origin.get('converter', '?')}, {origin.get('created_utc', '?')}"
    return f"{made}; {notes}; SHA-256 {row.manifest.artifact.sha256}"
