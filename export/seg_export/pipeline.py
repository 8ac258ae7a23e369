"""One way from a checkpoint to a proved artifact, the same for every target.

prepare -> convert -> embed the manifest -> reopen the written file through its runner -> parity -> put in place.
All work happens in a hidden directory beside the destination; only what passed parity leaves it.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seg_core.errors import ExportError, ParityError, SegError
from seg_core.manifest import Manifest, artifact_bytes, hash_artifact, manifest_path
from seg_export.install import install_files, unwritable, work_directory
from seg_export.quiet import capture_output
from seg_export.target import ConvertRequest, Precision, Target

if TYPE_CHECKING:
    from torch import Tensor

    from seg_export.overlays import OverlayWriter
    from seg_export.parity import ParityReport, Reference
    from seg_export.prepare import Prepared

Progress = Callable[[str], None]

#: What the system says when a place cannot be written to, as opposed to a converter's own trouble with files.
_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG})


@dataclass(frozen=True)
class ExportResult:
    """What became of one target: installed at `path`, or not and why.

    `seconds` are those of conversion alone, `parity_seconds` those of reopening and comparing.
    """

    target: str
    precision: Precision
    status: Literal["ok", "failed", "parity"]
    converter: str
    path: Path
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    parity_seconds: float = 0.0
    bytes: int | None = None
    parity: ParityReport | None = None
    error: str | None = None


class Exporter:
    """Exports one checkpoint to any number of targets; what they share is done once."""

    def __init__(
        self, reference: Reference, out_dir: Path, precision: Precision, stem: str, verbose: bool = False
    ) -> None:
        """Prepare the network of `reference` for conversion; raises ExportError when that is impossible.

        Artifacts are named `stem` plus the suffix of their target. With `verbose` converters may print.
        """
        from seg_export.prepare import prepare_network

        self.reference = reference
        self.out_dir = out_dir
        self.precision: Precision = precision
        self.stem = stem
        self.verbose = verbose
        with self._quiet("preparing the network"):
            self.prepared: Prepared = prepare_network(reference.network, self._inputs())

    def destination(self, target: Target) -> Path:
        """Return where the artifact of `target` goes."""
        return self.out_dir / (self.stem + target.suffix)

    def export(
        self, target: Target, overlays: OverlayWriter | None = None, progress: Progress = lambda _: None
    ) -> ExportResult:
        """Convert, prove and install one target; failures of it are results, so that others can go on.

        Raises nothing but KeyboardInterrupt and programming errors. Nothing is left behind and an older
        artifact stays where it was unless the new one passed parity.
        """
        result = ExportResult(target.name, self.precision, "failed", target.converter(), path=self.destination(target))
        try:
            self._keep_the_checkpoint(result.path)
            self.reference.network.check_target(target.name)
            with work_directory(self.out_dir) as work:
                return self._export_in(work, target, result, overlays, progress)
        except OSError as error:
            return replace(result, error=str(unwritable(self.out_dir, error)))
        except SegError as error:
            return replace(result, status="parity" if isinstance(error, ParityError) else "failed", error=str(error))

    def _keep_the_checkpoint(self, destination: Path) -> None:
        """Raise ExportError where the artifact would take the place of what it is made of."""
        checkpoint = self.reference.path
        if destination.exists() and checkpoint.exists() and destination.samefile(checkpoint):
            raise ExportError(f"{destination}: is the checkpoint itself; choose another --out or --name")

    def _export_in(
        self, work: Path, target: Target, result: ExportResult, overlays: OverlayWriter | None, progress: Progress
    ) -> ExportResult:
        from seg_export.parity import check_artifact, parity_path

        progress(f"{target.name}: converting with {result.converter}")
        started = time.perf_counter()
        artifact = work / result.path.name
        notes = self._convert(target, artifact)
        converted = time.perf_counter()
        progress(f"{target.name}: reopening it and comparing with the checkpoint")
        with self._quiet("running the written artifact"):
            report = check_artifact(artifact, self.reference, overlays.observe if overlays else None)
        result = replace(
            result,
            notes=notes,
            seconds=converted - started,
            parity_seconds=time.perf_counter() - converted,
            bytes=artifact_bytes(artifact),
            parity=report,
        )
        if not report.passed:
            message = "parity failed: not installed" + (", the older file stays" if result.path.exists() else "")
            return replace(result, status="parity", error=message)
        parity_path(artifact).write_text(report.to_json(), encoding="utf-8")
        files = [artifact, manifest_path(artifact), parity_path(artifact)]
        install_files(files, self.out_dir, work / "replaced")
        return replace(result, status="ok", notes=notes + self._write_overlays(overlays, artifact.name))

    def _write_overlays(self, overlays: OverlayWriter | None, artifact: str) -> tuple[str, ...]:
        """Write the pictures of an installed artifact; return a note of what hindered it, which takes nothing back."""
        try:
            if overlays is not None:
                overlays.write(self.out_dir, artifact)
        except SegError as error:
            return (f"no overlays ({error})",)
        return ()

    def _convert(self, target: Target, artifact: Path) -> tuple[str, ...]:
        """Write the artifact and, beside it, its manifest; return the notes of preparing and converting."""
        from seg_export.prepare import apply_rewrites

        with self._quiet("conversion"):
            prepared = apply_rewrites(self.prepared, target.rewrites, self._inputs())
            manifest = self._manifest(target, artifact, prepared)
            request = ConvertRequest(
                module=prepared.module,
                input_shape=self._input_shape(),
                precision=self.precision,
                path=artifact,
                manifest=manifest.embedded().to_json(),
            )
            notes = target.convert(request)
        if not artifact.exists():
            raise ExportError(f"{target.converter()} wrote no file")
        info = replace(manifest.artifact, bytes=artifact_bytes(artifact), sha256=hash_artifact(artifact))
        text = replace(manifest, artifact=info).to_json()
        manifest_path(artifact).write_text(text, encoding="utf-8")
        return (*prepared.notes, *notes)

    def _manifest(self, target: Target, artifact: Path, prepared: Prepared) -> Manifest:
        from seg_export.manifest import build_manifest

        logits = self.reference.runs()[0].logits.shape
        return build_manifest(self.reference, target, self.precision, artifact.name, prepared.notes, logits)

    def _inputs(self) -> list[Tensor]:
        import torch

        return [torch.from_numpy(run.tensor) for run in self.reference.runs()]

    def _input_shape(self) -> tuple[int, int, int, int]:
        return self.reference.spec.tensor_shape

    def _quiet(self, what: str) -> _QuietStep:
        return _QuietStep(what, self.verbose)


class _QuietStep:
    """Silence third-party code and turn what it raises into one ExportError that names the step."""

    def __init__(self, what: str, verbose: bool) -> None:
        self._what = what
        self._verbose = verbose
        self._capture = capture_output(enabled=not verbose)

    def __enter__(self) -> None:
        self._captured = self._capture.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._capture.__exit__(None, None, None)
        if not isinstance(error, Exception) or isinstance(error, SegError):
            return
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            return
        lines = str(error).strip().split("\n")
        hint = "" if self._verbose else "; --verbose shows what the converter printed"
        raise ExportError(f"{self._what} failed ({type(error).__name__}: {lines[0][:200]}){hint}") from error


def default_stem(reference: Reference, precision: Precision) -> str:
    """Return the checkpoint's name, with the size where it is not the native one and the precision where not fp32."""
    stem = reference.path.stem
    if reference.spec.size_hw != reference.checkpoint.preprocess.size_hw:
        stem += "-{}x{}".format(*reference.spec.size_hw)
    return stem if precision == "fp32" else f"{stem}-{precision}"
