"""Parity: does the written artifact compute what the checkpoint computes, preprocessing included?"""

from seg_export.parity.check import check_artifact
from seg_export.parity.reference import Reference
from seg_export.parity.result import ParityReport, load_parity, parity_path, save_parity
from seg_export.parity.samples import Sample, load_samples, synthetic_samples
from seg_export.parity.tolerances import Tolerance, tolerance_of

__all__ = [
    "ParityReport",
    "Reference",
    "Sample",
    "Tolerance",
    "check_artifact",
    "load_parity",
    "load_samples",
    "parity_path",
    "save_parity",
    "synthetic_samples",
    "tolerance_of",
]
