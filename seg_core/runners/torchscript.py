"""Run TorchScript artifacts on the CPU.

A TorchScript file is a program. Loading one runs no Python and unpickles no Python objects (torch's C++ reader
builds tensors and TorchScript classes alone), but running it may call any operator that torch has, some of which
read or write files: open only files that you or someone you trust exported. `read_manifest` reads one text entry
of the archive and needs neither torch nor trust.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

from seg_core.errors import ArtifactError
from seg_core.manifest import METADATA_KEY, Manifest
from seg_core.runners.base import first_line
from seg_core.runners.pytorch import TorchRunner, require_torch


def open_runner(path: Path, manifest: Manifest, threads: int | None) -> TorchRunner:
    """Open the artifact at `path`; raises ArtifactError when it is damaged or no TorchScript program."""
    require_torch("running a TorchScript artifact")
    import torch

    _entries(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is what the user asked for
            network = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(f"{path}: damaged, export it again ({first_line(error)})") from None
    return TorchRunner("torchscript", path, network.eval(), manifest, threads)


def read_manifest(path: Path) -> str:
    """Return the JSON text embedded in the archive; raises ArtifactError when the file has none."""
    wanted = f"/extra/{METADATA_KEY}"
    entry = next((name for name in _entries(path) if name.endswith(wanted)), None)
    if entry is None:
        raise ArtifactError(
            f"{path}: a TorchScript program without a segproof manifest, so its preprocessing is unknown; "
            "export it with  seg-export CHECKPOINT --target torchscript"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(entry).decode("utf-8")
    except (zipfile.BadZipFile, OSError, EOFError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: damaged, export it again ({error})") from None


def _entries(path: Path) -> list[str]:
    """List the archive after checking that it is a TorchScript program and that its checksums hold."""
    if path.is_dir():
        raise ArtifactError(f"{path}: is a directory; a TorchScript file (.pt) was expected")
    try:
        if path.stat().st_size == 0:
            raise ArtifactError(f"{path}: is empty; export it again")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise ArtifactError(f"{path}: truncated, damaged or no TorchScript file ({error}); export it again") from None
    if damaged is not None:
        raise ArtifactError(f"{path}: damaged (checksum of {damaged}); export it again")
    if not any(name.endswith("/constants.pkl") for name in names):
        hint = "a checkpoint: name it .pth" if any(name.endswith("/data.pkl") for name in names) else "some other zip"
        raise ArtifactError(f"{path}: not a TorchScript program but {hint}; export it with  seg-export CHECKPOINT")
    return names
