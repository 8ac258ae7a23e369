"""Files of tensors: read without ever running code that is inside them, written all or nothing.

Only `torch.load(weights_only=True)` is used, and only on files that look like torch's own: its unpickler builds
tensors and plain containers and refuses everything else instead of calling it.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from seg_core.atomic import replacing
from seg_core.errors import CheckpointError

_ZIP_MAGIC = b"PK\x03\x04"
#: What `torch.save` wrote before 1.6: a protocol-2 pickle of torch's magic number comes first.
_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def read_weights_file(path: Path) -> Any:
    """Return the tensors and plain containers that `torch.save` put into `path`, on the CPU.

    Takes the zip format and the one before torch 1.6. Raises CheckpointError naming the file when it is
    missing, empty, truncated, damaged, no torch file, or holds Python objects (which are never built).
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: is a directory; name the checkpoint file (.pth) inside it")
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_LEGACY_MAGIC))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; check the path of the checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    if not magic:
        raise CheckpointError(f"{path}: is empty; copy or download the checkpoint again")
    if magic.startswith(_ZIP_MAGIC):
        _check_archive(path)
    elif magic != _LEGACY_MAGIC:
        raise CheckpointError(f"{path}: not a file made by torch.save; a checkpoint (.pth) was expected")
    return _load(path)


def _check_archive(path: Path) -> None:
    """Refuse damaged archives: torch itself does not compare the checksums."""
    damaged = f"{path}: truncated or damaged; copy or download the checkpoint again"
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()]
            bad = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{damaged} ({error})") from None
    if bad is not None:
        raise CheckpointError(f"{damaged} (checksum of {bad})")
    if "constants.pkl" in names:
        raise CheckpointError(f"{path}: a TorchScript program, not a checkpoint; give the .pth it was exported from")
    if "data.pkl" not in names:
        raise CheckpointError(f"{path}: a zip file that torch.save did not make; a checkpoint (.pth) was expected")


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is in the exception
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes make the reader raise anything, from KeyError to RuntimeError
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found:
            raise CheckpointError(
                f"{path}: holds Python objects ({found[1]}), which were not loaded because loading runs code; "
                "ask its author for a file of tensors alone: torch.save(model.state_dict(), …)"
            ) from None
        raise CheckpointError(
            f"{path}: truncated or damaged; copy or download the checkpoint again ({type(error).__name__})"
        ) from None


def write_weights_file(path: Path, content: Any) -> None:
    """Write `content` (tensors in plain containers) atomically; equal content gives equal bytes.

    Raises CheckpointError when the directory cannot be written or the disk is full; an older file stays.
    """
    # Serialised in memory first: torch's archive writer cannot report a full disk from inside its destructor.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        with replacing(path) as draft:
            draft.write_bytes(buffer.getbuffer())
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another place"
        ) from None
