"""Exported once, looked at by many tests."""

from pathlib import Path

import pytest
from core_ai_platform import has_wheels
from export_material import LABELS, SAMPLES, write_checkpoint

from seg_export.overlays import OverlayWriter
from seg_export.parity import Reference, load_samples
from seg_export.pipeline import Exporter, ExportResult
from seg_export.targets import get_target, list_targets


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "net.pth")


@pytest.fixture(scope="session")
def reference(checkpoint) -> Reference:
    return Reference(checkpoint, load_samples(SAMPLES))


@pytest.fixture(scope="session")
def exporter(reference, tmp_path_factory) -> Exporter:
    """Prepared once; tests that write give it their own `out_dir`."""
    return Exporter(reference, tmp_path_factory.mktemp("exported"), "fp32", "net")


@pytest.fixture(scope="session")
def exported(exporter) -> dict[str, ExportResult]:
    """Every target that this platform has in fp32, in one directory."""
    names = [name for name in list_targets() if name != "coreai" or has_wheels()]
    return {name: exporter.export(get_target(name), OverlayWriter(LABELS)) for name in names}
