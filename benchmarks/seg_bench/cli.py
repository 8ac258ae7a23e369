"""`seg-bench` and `seg-eval`: parse, call one function, print."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from seg_bench.schema import check_destination, dump_json, save_json
from seg_core.cli.command import MOST_THREADS, THREADS, SegCommand, click
from seg_core.cli.convention import model_options, say_convention
from seg_core.cli.crf import CrfChoice, choose_crf, parse_crf
from seg_core.cli.datasets import labels_option, layout_option, split_option
from seg_core.convention import StatedConvention
from seg_core.errors import SegError

if TYPE_CHECKING:
    from seg_bench.accuracy import At
    from seg_core.manifest import Manifest
    from seg_core.sample_layouts import LayoutName
    from seg_core.spec import CrfSpec

#: --labels of seg-eval are those of the masks.
_MODEL_LABELS = "--model-labels"

_BENCH_EPILOG = """\b
Examples:
  seg-bench model.onnx model.tflite --threads 1,2
  seg-bench build/demo/*.onnx ckpt.pth --images photo.jpg --out latency.json

Compare only numbers of one run: every round measures all artifacts in turn, and the ratio column is the median
of the per-round ratios to the first artifact. Exits 1 when an artifact could not be measured.
"""

_EVAL_EPILOG = """\b
Examples:
  seg-eval ckpt.pth --data DIR
  seg-eval face6.onnx --data CelebAMask-HQ --split val --merge face_6
  seg-eval model.tflite --data DIR --json --min-miou 0.65
  seg-eval ckpt.pth --data DIR --at source --crf scale=2 --threads 1 --out crf.json

Scores are summed over all pixels of all images. mIoU is the mean over the classes that occur in the masks or in
the predictions; a class that occurs in neither has no score. With --crf the same scores of the network
are postprocessed with and without a dense CRF; what it gains and costs is reported. Exits 3 when --min-miou is missed.
"""


def _parse_threads(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[int | None, ...]:
    if value is None:
        return (None,)
    try:
        counts = tuple(int(part) for part in value.split(","))
    except ValueError:
        counts = (0,)
    if not all(1 <= count <= MOST_THREADS for count in counts):
        raise click.BadParameter(f"expected numbers of 1 to {MOST_THREADS} such as 1,2; found {value!r}")
    return counts


@click.command(cls=SegCommand, epilog=_BENCH_EPILOG)
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="ARTIFACT...")
@click.option("--threads", callback=_parse_threads, metavar="N,N", help="Thread counts.  [default: the runtime's own]")
@click.option("--rounds", type=click.IntRange(1), default=30, show_default=True, help="Most rounds to run.")
@click.option("--frames", type=click.IntRange(1), default=3, show_default=True, help="Timed frames a round.")
@click.option("--warmup", type=click.IntRange(0), default=1, show_default=True, help="Untimed frames before them.")
@click.option(
    "--budget-s", type=click.FloatRange(0), default=8.0, show_default=True, help="Seconds of measuring, all together."
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Picture to run, or a directory (its first picture).  [default: a drawn 720×1280 frame]",
)
@model_options()
@click.option("--out", type=click.Path(path_type=Path), help="Write the report as JSON, such as latency.json.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
def bench_command(
    artifacts: tuple[Path, ...],
    threads: tuple[int | None, ...],
    rounds: int,
    frames: int,
    warmup: int,
    budget_s: float,
    images: Path | None,
    convention: StatedConvention,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time artifacts and checkpoints against one another, each in its own process.

    What a checkpoint from elsewhere does not say itself is assumed, printed, and changed by --mean, --std, --color,
    --labels and --size; these do not touch exported artifacts.
    """
    from seg_bench.frame import load_frame
    from seg_bench.latency import BenchPlan, measure_latency
    from seg_bench.opening import check_stated
    from seg_bench.report import open_console, print_latency
    from seg_bench.worker import ArtifactSession

    if out is not None:
        check_destination(out)
    check_stated(artifacts, convention)
    console = open_console(to_stderr=as_json)
    plan = BenchPlan(threads, rounds, frames, warmup, budget_s)
    image_bgr, image_name = load_frame(images)
    with _progress() as advance:
        opener = functools.partial(ArtifactSession, stated=convention)
        report = measure_latency(artifacts, image_bgr, image_name, plan, advance, opener)
    for artifact, provenance in {row.artifact: row.provenance for row in report.rows}.items():
        say_convention(artifact, provenance or {})
    print_latency(report, console)
    if out is not None:
        save_json(out, report)
    if as_json:
        click.echo(dump_json(report), nl=False)
    unmeasured = [row.artifact for row in report.rows if not row.ran]
    if unmeasured:
        raise SegError(f"{len(unmeasured)} of {len(report.rows)} rows were not measured: {', '.join(unmeasured)}")


@click.command(cls=SegCommand, epilog=_EVAL_EPILOG)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), metavar="PATH", help="Data set in any layout.")
@layout_option
@split_option
@labels_option("the model's")
@click.option("--merge", metavar="NAME", help="Groups in which the masks' classes are scored, such as face_6.")
@click.option(
    "--at",
    type=click.Choice(["network", "source"]),
    default="network",
    show_default=True,
    help="Where label map and mask are compared: the network's input size, as in training, or each image's own.",
)
@click.option("--limit", type=click.IntRange(1), help="Use only the first N pairs by name.")
@click.option("--threads", type=THREADS, help="Threads of the runtime.  [default: the runtime's own]")
@click.option("--min-miou", type=click.FloatRange(0, 1), help="Exit with 3 when mIoU is below this.")
@click.option(
    "--crf", metavar="SETTINGS", callback=parse_crf, help="Compare with and without a dense CRF: on, or scale=2,…"
)
@model_options(_MODEL_LABELS)
@click.option("--out", type=click.Path(path_type=Path), help="Write the scores as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON on stdout.")
def eval_command(
    model: Path,
    data: Path,
    layout: LayoutName,
    split: str | None,
    labels: str | None,
    merge: str | None,
    at: At,
    limit: int | None,
    threads: int | None,
    min_miou: float | None,
    crf: CrfChoice | None,
    convention: StatedConvention,
    out: Path | None,
    as_json: bool,
) -> None:
    """Score MODEL, a checkpoint or any artifact, on labelled images.

    What a checkpoint from elsewhere does not say itself is assumed, printed, and changed by --mean, --std, --color,
    --model-labels and --size.
    """
    from seg_bench.accuracy import check_miou, evaluate
    from seg_bench.labelled import LabelledData
    from seg_bench.report import open_console, print_comparison, print_evaluation
    from seg_core.manifest import load_manifest

    if out is not None:
        check_destination(out)
    console = open_console(to_stderr=as_json)
    manifest = load_manifest(model, stated=convention)
    say_convention(str(model), manifest.provenance, _MODEL_LABELS)
    labelled = LabelledData(data, layout, split, labels, merge)
    with _progress() as advance:

        def report(done: int, total: int) -> None:
            advance("evaluating", done / total)

        if crf is None:
            evaluation = evaluate(model, labelled, at, limit, threads, report, manifest)
            result = evaluation.to_json()
        else:
            from seg_bench.crf import measure_crf

            chosen = _chosen_crf(crf, manifest)
            comparison = measure_crf(model, labelled, chosen, at, limit, threads, report, manifest)
            evaluation, result = comparison.refined, comparison.to_json()
    if crf is None:
        print_evaluation(evaluation, console)
    else:
        print_comparison(result, console)
    if out is not None:
        save_json(out, result)
    if as_json:
        click.echo(dump_json(result), nl=False)
    if min_miou is not None:
        check_miou(evaluation, min_miou)


def _chosen_crf(choice: CrfChoice, manifest: Manifest) -> CrfSpec:
    crf = choose_crf(choice, manifest.postprocess.crf)
    if crf is None:
        raise click.UsageError("--crf off: leaves nothing to compare; leave the option out")
    return crf


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """Show a bar on stderr while it is a terminal; nothing otherwise."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # No refreshing in the background: a thread that draws would disturb what is being measured.
    with Progress(console=console, transient=True, auto_refresh=False, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda line, share: bar.update(task, description=line, completed=share, refresh=True)
