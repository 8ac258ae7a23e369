"""`seg-data convert`."""

from __future__ import annotations

import json
from pathlib import Path

from seg_core.cli.command import SegCommand, click
from seg_core.runners.pytorch import require_torch


@click.command(
    "convert",
    cls=SegCommand,
    examples=[
        "seg-data convert runs/face/best.pth face.pt",
        "seg-export runs/face/best.pth --target torchscript     # folded, and proved on photographs",
    ],
)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def convert_command(source: Path, destination: Path, as_json: bool) -> None:
    """Trace SOURCE, a checkpoint, into DESTINATION, a TorchScript program (.pt).

    The quick way, at the checkpoint's own size and in float32, without the auxiliary heads. The file carries its
    preprocessing and class names, so that seg-predict runs it; it is reopened and compared with the network on one
    drawn picture before it replaces an older one. What goes to a phone is made by seg-export, which also folds the
    BatchNorms, compares on photographs and writes a manifest with the file's hash.
    """
    require_torch("converting a checkpoint")
    from seg_train.convert import convert_checkpoint

    result = convert_checkpoint(source, destination)
    manifest = result.manifest
    if as_json:
        click.echo(
            json.dumps(
                {
                    "schema_version": 1,
                    "written": str(result.path),
                    "model": manifest.model.name,
                    "input_shape": list(manifest.inputs[0].shape),
                    "output_shape": list(manifest.outputs[0].shape),
                    "bytes": result.path.stat().st_size,
                    "max_abs_relative": result.max_abs_relative,
                },
                indent=2,
            )
        )
    height, width = manifest.preprocess.size_hw
    click.echo(f"{manifest.model.name}, {manifest.model.num_classes} classes, traced at {height}x{width}", err=as_json)
    click.echo(f"reopened: logits differ by at most {result.max_abs_relative:.1e} x max|logit|", err=as_json)
    click.echo(f"written to {result.path}", err=as_json)
    click.echo(f"next:  seg-predict {result.path} photo.jpg --out photo_overlay.png", err=as_json)
    click.echo(f"folded and proved on photographs:  seg-export {source} --target torchscript", err=as_json)
