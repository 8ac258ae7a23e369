"""Core ML's weight file.

Layout (MILBlob storage format 2, little-endian): a 64-byte header, then for each constant a record of 64
bytes and its data, both aligned to 64 bytes. The program refers to a constant by the offset of its record.
"""

from __future__ import annotations

import struct
from pathlib import Path

from seg_core.errors import ArtifactError
from seg_core.mil.dtypes import BLOB_DTYPES, item_bits, unpack
from seg_core.runners.base import Array

_RECORD = struct.Struct("<IIQQ")  # sentinel, dtype, size in bytes, offset of the data
_SENTINEL = 0xDEADBEEF
_HINT = "the package is damaged or was not copied whole: export it again"


class WeightFile:
    """The bytes of one `weight.bin`, and the constants in it."""

    def __init__(self, path: Path, package: Path) -> None:
        """Read the file; raises ArtifactError naming `package` when it is missing."""
        self._where = f"{package}: {path.name}"
        try:
            self._data = path.read_bytes()
        except FileNotFoundError:
            raise ArtifactError(f"{package}: the weights {path.name} are missing; {_HINT}") from None
        except OSError as error:
            raise ArtifactError(f"{self._where} cannot be read ({error.strerror}); {_HINT}") from None

    def read(self, offset: int, dtype: str, count: int) -> Array:
        """Return `count` values of `dtype` whose record lies at `offset`, as a flat read-only array.

        Sub-byte integers come back one a byte. Raises ArtifactError when the record or its data lie outside
        the file or are of another type or size.
        """
        if offset < 0 or offset + _RECORD.size > len(self._data):
            raise ArtifactError(f"{self._where} ends before the constant at offset {offset}; {_HINT}")
        sentinel, code, size, start = _RECORD.unpack_from(self._data, offset)
        if sentinel != _SENTINEL:
            raise ArtifactError(f"{self._where} has no constant at offset {offset}; {_HINT}")
        stored = BLOB_DTYPES.get(code)
        if stored != dtype:
            raise ArtifactError(
                f"{self._where}, offset {offset}: holds {stored or f'type {code}'}, not the {dtype} "
                f"that the program states; {_HINT}"
            )
        wanted = (count * item_bits(dtype) + 7) // 8
        if size < wanted or start + size > len(self._data):
            raise ArtifactError(
                f"{self._where}, offset {offset}: needs {wanted} bytes from {start} on, the file has "
                f"{max(0, len(self._data) - start)}; {_HINT}"
            )
        return unpack(self._data[start : start + wanted], dtype, count)
