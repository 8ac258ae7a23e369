"""Write the zoo's results as `docs/models.md`. Everything on the page comes from the committed JSON."""

from __future__ import annotations

from collections.abc import Sequence

from seg_bench.schema import EVALUATOR
from seg_bench.zoo_schema import ZooEntry, ZooExport, ZooLatency, ZooReport

NOT_MEASURED = "not measured yet"

#: Versions that can move a number on the page; the others are in the JSON.
_VERSIONS = ("torch", "onnxruntime", "ai-edge-litert", "coremltools")


def render_page(report: ZooReport, latency: ZooLatency | None) -> str:
    """Return the page as Markdown with a final newline."""
    sections = [
        _head(report),
        _sizes(report, latency),
        _parity(report),
        _half_precision(report),
        _failures(report),
        _weights(report),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(report: ZooReport) -> str:
    environment = report.environment
    versions = ", ".join(f"{name} {environment.versions[name]}" for name in _VERSIONS if name in environment.versions)
    dates = sorted({entry.date for entry in report.entries})
    converters = dict.fromkeys(row.converter for entry in report.entries for row in entry.exports)
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return (
        "# Models\n\n"
        f"<!-- Written by `{report.command}`; an edit by hand would be overwritten. -->\n\n"
        "Every registered network with its default options: what it costs, and how closely the files exported from "
        "it follow it.\nThe same facts for other sizes and options: `seg-models show NAME --size HxW "
        "--option KEY=VALUE`.\n\n"
        f"- written by `{report.command}` on {when}\n"
        f"- versions: {environment.python}, {versions}\n"
        f"- converters: {', '.join(converters)}\n"
        f"- machine: {environment.cpu}, {environment.cores} cores\n"
        f"- input {report.size_hw[0]}×{report.size_hw[1]} (height × width), {len(report.images)} photographs: "
        f"{', '.join(report.images)}"
    )


def _sizes(report: ZooReport, latency: ZooLatency | None) -> str:
    if latency is None or not latency.times:
        note = f"Latency: {NOT_MEASURED}; `make zoo-latency` measures it on a machine that does nothing else."
    else:
        note = (
            f"Latency is the median on {latency.threads} threads of {latency.environment.cpu}; milliseconds are those "
            f"of that machine. × is the time relative to {latency.baseline} in ONNX Runtime in the same interleaved "
            f"rounds, which is what can be compared (`{latency.command}`)."
        )
    rows = [
        [
            f"[{entry.model}]({entry.paper})" if entry.paper else entry.model,
            f"{entry.parameters / 1e6:.2f}",
            f"{entry.gmacs:.2f}",
            str(entry.size_divisor),
            _time(latency, entry.model, "onnx"),
            _time(latency, entry.model, "tflite"),
        ]
        for entry in report.entries
    ]
    title = ["model and paper", "parameters, M", "GMACs", "sizes: multiples of", "ONNX Runtime", "TFLite"]
    return (
        "## Size and speed\n\n" + _table(title, rows, "lrrrrr") + "\n\n"
        "Parameters and GMACs are those of what is exported, the main head alone, for 19 classes. A GMAC is 10^9 "
        "multiply-accumulates of convolutions\nand matrix products for one image; normalisation, activations and "
        "resizing are not counted.\n" + note
    )


def _time(latency: ZooLatency | None, model: str, target: str) -> str:
    for time in latency.times if latency else ():
        if (time.model, time.target) == (model, target):
            return f"{time.p50_ms:.1f} ms, {time.ratio:.2f}×"
    return NOT_MEASURED


def _parity(report: ZooReport) -> str:
    targets = list(dict.fromkeys(row.target for entry in report.entries for row in entry.exports))
    rows = [
        [entry.model, entry.weights, *(_proof(entry, target, "fp32") for target in targets)] for entry in report.entries
    ]
    backends = {row.target: row.backend for entry in report.entries for row in entry.exports if row.backend}
    note = (
        f" Run here: {', '.join(f'{name} by the {backend}' for name, backend in backends.items())}." if backends else ""
    )
    if EVALUATOR in backends.values():
        note += "\nThe evaluator is this project's own ([what it proves](how-to/check-core-ml-without-a-mac.md))."
    return (
        "## Parity in float32\n\n" + _table(["model", "weights", *targets], rows, "ll" + "r" * len(targets)) + "\n\n"
        "max|artifact - checkpoint| / max|checkpoint| of the logits, and the share of equal labels, on the worst "
        "photograph; the checkpoint runs in eager\nPyTorch, the artifact is the written file, reopened. Trained "
        "weights are the bundled ones; seeded weights have a trained network's size and\nprove the conversion, not "
        "what a network has learned." + note
    )


def _half_precision(report: ZooReport) -> str:
    entries = [entry for entry in report.entries if any(row.precision == "fp16" for row in entry.exports)]
    if not entries:
        return ""
    targets = list(dict.fromkeys(row.target for e in entries for row in e.exports if row.precision == "fp16"))
    rows = [[entry.model, *(_proof(entry, target, "fp16") for target in targets)] for entry in entries]
    return (
        "## Parity in half precision\n\n" + _table(["model", *targets], rows, "l" + "r" * len(targets)) + "\n\n"
        "Half precision is judged by its labels, so only networks with trained weights are in this table."
    )


def _proof(entry: ZooEntry, target: str, precision: str) -> str:
    row = next((row for row in entry.exports if (row.target, row.precision) == (target, precision)), None)
    if row is None:
        return "not tried"
    if row.max_abs_relative is None or row.label_agreement is None:
        return "✗ failed"
    return f"{'✓' if row.status == 'ok' else '✗'} {row.max_abs_relative:.1e}, {_percent(row.label_agreement)}"


def _percent(share: float) -> str:
    # Never rounded up to the 100 % that it is not.
    return "100 %" if share == 1 else f"{min(share * 100, 99.999):.3f} %"


def _failures(report: ZooReport) -> str:
    lines = [
        f"- {entry.model}, {row.target} {row.precision}: {_reason(row)}"
        for entry in report.entries
        for row in entry.exports
        if row.status != "ok"
    ]
    return "## What failed\n\n" + "\n".join(lines) if lines else ""


def _reason(row: ZooExport) -> str:
    return " ".join((row.error or row.status).split())


def _weights(report: ZooReport) -> str:
    rows = [
        [entry.model, file.trained_on, f"`{file.file}`", file.origin]
        for entry in report.entries
        for file in entry.published
    ]
    if not rows:
        return ""
    return (
        "## Published weights\n\n" + _table(["model", "trained on", "file", "from"], rows, "llll") + "\n\n"
        "Files as their authors name them; nothing here downloads them. One trained on segmentation goes to "
        "`seg-export FILE --target …` as it is;\none trained on ImageNet starts an encoder (option `pretrained`)."
    )


def _table(title: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join("| " + " | ".join(row) + " |" for row in (title, rule, *rows))
