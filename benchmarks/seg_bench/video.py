"""Compare networks on videos, those with a memory and those without: `python -m seg_bench.video`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg_bench.schema import dump_json, save_json
from seg_core.cli.command import THREADS, SegCommand, click
from seg_core.cli.convention import model_options, say_convention
from seg_core.cli.regions import RegionChooser, parse_region
from seg_core.convention import StatedConvention
from seg_core.geometry import Roi

if TYPE_CHECKING:
    from seg_bench.video_measure import VideoRow
    from seg_core.manifest import Manifest

_EXAMPLES = (
    "python -m seg_bench.video picture.pth video.pth --data DIR/val --out benchmarks/results/video_prior_256.json",
    "python -m seg_bench.video picture.pth video.onnx --video clip.mp4 --roi face --json",
)


@click.command("python -m seg_bench.video", cls=SegCommand, examples=_EXAMPLES)
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL...")
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Film clips of its images/ and masks/.")
@click.option("--clips", type=click.IntRange(1), default=40, show_default=True, help="From the first pairs by name.")
@click.option("--frames", type=click.IntRange(2), default=24, show_default=True, help="Of each filmed clip.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the camera's way.")
@click.option("--video", type=click.Path(path_type=Path), help="A real clip, without truth: steadiness alone.")
@click.option("--roi", metavar="REGION", default="full", show_default=True, callback=parse_region,
              help="Of --video: full, face (looked for once), TOP,LEFT,SIDE or TOP,LEFT,HEIGHT,WIDTH.")  # fmt: skip
@click.option("--threads", type=THREADS, help="Threads of the runtime.  [default: the runtime's own]")
@click.option("--out", type=click.Path(path_type=Path), help="Write the result as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@model_options()
def video_command(
    models: tuple[Path, ...], data: Path | None, clips: int, frames: int, seed: int, video: Path | None,
    roi: str | Roi, threads: int | None, out: Path | None, as_json: bool, convention: StatedConvention,
) -> None:  # fmt: skip
    """Score each MODEL, checkpoint or artifact, on filmed clips (mIoU and steadiness) and on a real one (steadiness).

    A network that takes the previous mask is scored with its memory and without. Gains are over the first row.
    What a checkpoint from elsewhere does not say itself is assumed, printed, and changed by --mean, --std, --color,
    --labels and --size.
    """
    if data is None and video is None:
        raise click.UsageError("give --data DIR, --video CLIP or both")
    from seg_bench.opening import read_manifests
    from seg_bench.video_measure import describe_environment

    manifests = read_manifests(models, convention)
    for model, manifest in zip(models, manifests, strict=True):
        say_convention(str(model), manifest.provenance)
    result: dict[str, Any] = {"schema_version": 1, "environment": describe_environment(), "threads": threads}
    if data is not None:
        result["filmed"] = _film(models, manifests, data, clips, frames, seed, threads, as_json)
    if video is not None:
        result["video"] = _play(models, manifests, video, roi, threads, as_json)
    if out is not None:
        save_json(out, result)
    if as_json:
        click.echo(dump_json(result), nl=False)


def _film(
    models: tuple[Path, ...], manifests: list[Manifest], data: Path, clips: int, frames: int, seed: int,
    threads: int | None, to_stderr: bool,
) -> dict[str, Any]:  # fmt: skip
    from rich.progress import track

    from seg_bench.camera_path import CameraPath
    from seg_bench.report import open_console
    from seg_bench.video_measure import TruthWatch, film_clips, measure, summarise

    path, labels = CameraPath(frames), manifests[0].labels
    filmed = TruthWatch(film_clips(data, labels, path, clips, seed), labels.num_classes)
    console = open_console(to_stderr=True)
    shown = track(filmed, "filming and labelling", clips, console=console, transient=True,
                  disable=not console.is_terminal)  # fmt: skip
    rows = measure(models, shown, threads, manifests)
    count = len(rows[0].steadiness)
    _print_rows(f"{count} clips of {frames} frames, filmed of {data}", rows, to_stderr)
    circumstances = {"data": str(data), "clips": count, "seed": seed, "camera": asdict(path)}
    return summarise(rows, {**circumstances, "truth": filmed.consistency.to_json()})


def _play(
    models: tuple[Path, ...],
    manifests: list[Manifest],
    video: Path,
    roi: str | Roi,
    threads: int | None,
    to_stderr: bool,
) -> dict[str, Any]:
    from seg_bench.video_measure import measure, read_clip, summarise
    from seg_core.video import open_video

    with open_video(video) as reader:
        region, _ = RegionChooser(roi).choose(next(iter(reader)))
    clip = read_clip(video, region)
    rows = measure(models, [clip], threads, manifests)
    _print_rows(f"{video.name}, {len(clip.frames)} frames", rows, to_stderr)
    return summarise(rows, {"video": video.name, "frames": len(clip.frames), "roi": str(region) if region else "full"})


def _print_rows(title: str, rows: list[VideoRow], to_stderr: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from seg_bench.report import open_console

    console = open_console(to_stderr=to_stderr)
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for heading in ("model", "memory", "mIoU", "flicker", "consistency", "p50 ms"):
        table.add_column(heading, justify="left" if heading in ("model", "memory") else "right", overflow="fold")
    for row in rows:
        scores = row.to_json()
        miou = scores["accuracy"]["miou"] if "accuracy" in scores else None
        values = (miou, scores["flicker"], scores["temporal_consistency"])
        texts = ("—" if value is None else f"{value:.4f}" for value in values)
        table.add_row(row.model, row.memory, *texts, f"{scores['total_p50_ms']:.1f}")
    console.print(table)


if __name__ == "__main__":
    video_command()
