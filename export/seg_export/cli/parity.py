"""`seg-parity`: compare artifacts with the checkpoint they came from."""

from __future__ import annotations

import json
from pathlib import Path

from seg_core.cli.command import SegCommand, click
from seg_core.cli.convention import convention_options
from seg_core.convention import StatedConvention
from seg_core.errors import ParityError
from seg_core.spec import to_json
from seg_export.cli.console import Console, mark, parity_tree


@click.command(
    cls=SegCommand,
    epilog="""\b
Examples:
  seg-parity ckpt.pth build/export/ckpt.onnx --images photos/
  seg-parity ckpt.pth model.tflite model.mlpackage --images face.jpg --json

\b
Exit codes: 0 all within tolerance, 1 something could not be read or run, 2 wrong usage, 3 beyond tolerance.""",
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Image or directory to compare on, with an optional rois.json; by default synthetic images.",
)
@click.option(
    "--save/--no-save",
    default=True,
    show_default=True,
    help="Write <artifact>.parity.json and overlays/ beside each artifact.",
)
@convention_options
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON on standard output.")
@click.pass_context
def parity_command(
    ctx: click.Context,
    checkpoint: Path,
    artifacts: tuple[Path, ...],
    images: Path | None,
    save: bool,
    convention: StatedConvention,
    as_json: bool,
) -> None:
    """Run ARTIFACTS and CHECKPOINT on the same images, each through its own preprocessing, and judge the difference.

    The reference is the checkpoint in eager float32 PyTorch. The bounds are in one table for every target
    and precision. Of a checkpoint from elsewhere state what the export was told of it.
    """
    console = Console(to_stderr=as_json)
    with console.spinner() as progress:
        progress(f"reading {checkpoint}")
        from seg_export.overlays import OverlayWriter
        from seg_export.parity import Reference, check_artifact, load_samples, save_parity, synthetic_samples

        reference = Reference(checkpoint, load_samples(images) if images else synthetic_samples(), stated=convention)
    reports = []
    for artifact in artifacts:
        overlays = OverlayWriter(reference.checkpoint.labels)
        with console.spinner() as progress:
            progress(f"comparing {artifact}")
            report = check_artifact(artifact, reference, overlays.observe)
        reports.append(report)
        console.say(f"{mark(report.passed)} {artifact}  ({report.target} {report.precision})")
        for line in parity_tree(report):
            console.say(f"    {line}")
        if save:
            save_parity(artifact, report)
            overlays.write(artifact.parent, artifact.name)
    passed = all(report.passed for report in reports)
    if as_json:
        rows = [to_json(report) for report in reports]
        click.echo(json.dumps({"schema_version": 1, "passed": passed, "reports": rows}, indent=2))
    if not passed:
        failed = ", ".join(report.artifact for report in reports if not report.passed)
        raise ParityError(f"beyond tolerance: {failed}; do not ship it, export it again from {checkpoint}")
    ctx.exit(0)
