"""`seg-export`: a checkpoint to proved artifacts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_core.cli.command import SegCommand, click
from seg_core.cli.convention import convention_options, parse_size
from seg_core.convention import StatedConvention, input_convention, normalisation_text, provenance_lines
from seg_core.errors import ParityError, SegError
from seg_core.spec import to_json
from seg_export.cli.console import Console, mark, megabytes, parity_tree

if TYPE_CHECKING:
    from seg_export.parity import Reference
    from seg_export.pipeline import ExportResult
    from seg_export.target import Target

DEFAULT_OUT = Path("build/export")


def parse_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Refuse names that are paths; a usage error."""
    if value is not None and (not value or Path(value).name != value):
        raise click.BadParameter(f"{value!r} must be a plain file name without suffix; the directory is --out")
    return value


@click.command(
    cls=SegCommand,
    epilog="""\b
Examples:
  seg-export ckpt.pth --target coreml
  seg-export ckpt.pth --target onnx --target tflite --images photos/
  seg-export ckpt.pth --target all --size 384x384 --out build/phone --json
  seg-export 79999_iter.pth --target coreml --labels names.json --mean 0.5 --std 0.5

\b
Exit codes: 0 all proved, 1 something failed, 2 wrong usage, 3 an artifact is beyond tolerance (not installed).
Targets may also be called jit, ort, ios, mlpackage, apple, litert, android, aimodel. See --list-targets.""",
)
@click.argument("checkpoint", required=False, type=click.Path(path_type=Path))
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Format to export. Repeatable. `all`: torchscript onnx coreml tflite.",
)
@click.option("--size", callback=parse_size, metavar="HxW", help="Input size; by default the checkpoint's own.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32", show_default=True)
@click.option(
    "--out", "out_dir", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=True, help="Directory."
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Image or directory that parity is proved on, with an optional rois.json; by default synthetic images.",
)
@convention_options
@click.option("--name", callback=parse_name, metavar="STEM", help="File name without suffix; default the checkpoint's.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON on standard output.")
@click.option("--verbose", is_flag=True, help="Let the converters print.")
@click.option("--list-targets", is_flag=True, help="Show the targets, their precisions and what is installed.")
@click.pass_context
def export_command(
    ctx: click.Context,
    checkpoint: Path | None,
    targets: tuple[str, ...],
    size: tuple[int, int] | None,
    precision: Any,
    out_dir: Path,
    images: Path | None,
    convention: StatedConvention,
    name: str | None,
    as_json: bool,
    verbose: bool,
    list_targets: bool,
) -> None:
    """Export CHECKPOINT to formats for phones, browsers and servers, and prove each written file against it.

    Every artifact gets its manifest inside and beside it (`<artifact>.json`) and the parity report
    (`<artifact>.parity.json`). Files appear complete and proved or not at all.

    CHECKPOINT may come from elsewhere: a published state dict of a known architecture (see seg-models list). What it
    does not say itself is assumed, printed, and changed by --mean, --std, --color, --labels and --size.
    """
    if list_targets:
        _print_targets(as_json)
        return
    if checkpoint is None or not targets:
        raise click.UsageError("give a CHECKPOINT and at least one --target (see --list-targets)")
    from seg_export.install import work_directory
    from seg_export.targets import check_request, resolve_targets

    chosen = resolve_targets(list(targets))
    check_request(chosen, precision)
    console = Console(to_stderr=as_json)
    reference = _load_reference(console, checkpoint, size, images, convention)
    with work_directory(out_dir):  # found out now, not after minutes of conversion
        _print_header(console, reference, images, size is not None)
        results = _run(console, reference, chosen, out_dir, precision, name, verbose)
    if as_json:
        click.echo(json.dumps(_as_json(reference, results), indent=2))
    _print_next(console, checkpoint, images, convention, results)
    ctx.exit(_exit_code(results))


def _load_reference(
    console: Console, checkpoint: Path, size: tuple[int, int] | None, images: Path | None, convention: StatedConvention
) -> Reference:
    with console.spinner() as progress:
        progress(f"reading {checkpoint}")
        from seg_export.parity import Reference, load_samples, synthetic_samples

        samples = load_samples(images) if images else synthetic_samples()
        return Reference(checkpoint, samples, size, convention)


def _run(
    console: Console, reference: Reference, targets: list[Target], out_dir: Path, precision: Any, name: str | None,
    verbose: bool,
) -> list[ExportResult]:  # fmt: skip
    from seg_export.overlays import OverlayWriter
    from seg_export.pipeline import Exporter, default_stem

    with console.spinner() as progress:
        progress("preparing the network: one graph, BatchNorms folded")
        stem = name or default_stem(reference, precision)
        exporter = Exporter(reference, out_dir, precision, stem, verbose)
    results = []
    for target in targets:
        with console.spinner() as progress:
            result = exporter.export(target, OverlayWriter(reference.checkpoint.labels), progress)
        _print_result(console, result)
        results.append(result)
    return results


def _print_header(console: Console, reference: Reference, images: Path | None, size_given: bool) -> None:
    checkpoint, spec = reference.checkpoint, reference.spec
    parameters = sum(tensor.numel() for tensor in reference.network.parameters())
    names = checkpoint.labels.names
    some = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    count = len(reference.samples)
    source = f"{count} from {images}" if images else f"{count} synthetic ones; give --images DIR to prove it on yours"
    for key, value in (
        ("checkpoint", f"{reference.path}, {megabytes(reference.path.stat().st_size)}, {reference.sha256[:12]}"),
        ("architecture", f"{checkpoint.model.name}, {parameters / 1e6:.2f} M parameters"),
        ("classes", f"{checkpoint.model.num_classes}: {some}"),
        ("input", f"{spec.size_hw[0]}×{spec.size_hw[1]} (H×W) {spec.color}, {spec.resize}, {spec.interpolation}"),
        *((("prior", "the previous frame's labels are the last channel"),) if spec.has_prior else ()),
        ("normalise", normalisation_text(input_convention(spec))),
        ("images", source),
        *provenance_lines(checkpoint.provenance, size_given),
    ):
        console.say(f"{key:<13} {value}")
    console.say()


def _print_result(console: Console, result: ExportResult) -> None:
    where = f"{result.path}  {megabytes(result.bytes)}" if result.status == "ok" else "not written"
    seconds = f"{result.seconds:.1f} s" if result.seconds else "–"
    console.say(f"{mark(result.status == 'ok')} {result.target:<12} {result.converter:<26} {seconds:>7}  {where}")
    if result.notes:
        console.say(f"    {'; '.join(result.notes)}")
    if result.parity is not None:
        for line in parity_tree(result.parity):
            console.say(f"    {line}")
    if result.error is not None:
        click.echo(f"error: {' '.join(f'{result.target}: {result.error}'.splitlines())}", err=True)


def _print_next(
    console: Console, checkpoint: Path, images: Path | None, convention: StatedConvention, results: list[ExportResult]
) -> None:
    paths = [shlex.quote(str(result.path)) for result in results if result.status == "ok"]
    if not paths:
        return
    every = " ".join(paths)
    photos = shlex.quote(str(images)) if images else "PHOTOS/"
    console.say("\nnext")
    stated = "".join(f" {shlex.quote(word)}" for word in convention.words())
    console.say(f"  seg-parity {shlex.quote(str(checkpoint))} {every} --images {photos}{stated}")
    out_dir = results[0].path.parent
    console.say(f"  seg-bench {every} --out {shlex.quote(str(out_dir / 'latency.json'))}")
    console.say(f"  seg-predict {paths[-1]} {photos} --out build/predict")
    console.say(f"  seg-report {shlex.quote(str(out_dir))}")


def _as_json(reference: Reference, results: list[ExportResult]) -> dict[str, Any]:
    rows = [
        {
            "target": result.target,
            "precision": result.precision,
            "status": result.status,
            "artifact": str(result.path) if result.status == "ok" else None,
            "bytes": result.bytes,
            "converter": result.converter,
            "seconds": round(result.seconds, 3),
            "parity_seconds": round(result.parity_seconds, 3),
            "notes": list(result.notes),
            "error": result.error,
            "parity": to_json(result.parity) if result.parity else None,
        }
        for result in results
    ]
    return {
        "schema_version": 1,
        "checkpoint": str(reference.path),
        "checkpoint_sha256": reference.sha256,
        "size_hw": list(reference.spec.size_hw),
        "provenance": reference.checkpoint.provenance,
        "passed": all(result.status == "ok" for result in results),
        "results": rows,
    }


def _exit_code(results: list[ExportResult]) -> int:
    statuses = {result.status for result in results}
    if "failed" in statuses:
        return SegError.exit_code
    return ParityError.exit_code if "parity" in statuses else 0


def _print_targets(as_json: bool) -> None:
    from seg_export.targets import get_target, list_targets, missing_packages

    chosen = [get_target(name) for name in list_targets()]
    if as_json:
        rows = [
            {
                "name": target.name,
                "suffix": target.suffix,
                "precisions": list(target.precisions),
                "layout": target.layout,
                "missing": missing_packages(target),
                "install": f"segproof[{target.extra}]",
            }
            for target in chosen
        ]
        click.echo(json.dumps({"schema_version": 1, "targets": rows}, indent=2))
        return
    console = Console()
    for target in chosen:
        missing = missing_packages(target)
        state = f"needs  pip install 'segproof[{target.extra}]'" if missing else "installed"
        precisions = " ".join(target.precisions)
        console.say(f"{mark(not missing)} {target.name:<12} {target.suffix:<12} {precisions:<12} {state}")
