"""Number formats of Core ML programs and how numpy holds them."""

from __future__ import annotations

import numpy as np

from seg_core.runners.base import Array

#: `DataType` of MIL.proto by number.
MIL_DTYPES = {
    1: "bool", 2: "string", 10: "fp16", 11: "fp32", 12: "fp64", 21: "int8", 22: "int16", 23: "int32", 24: "int64",
    25: "int4", 31: "uint8", 32: "uint16", 33: "uint32", 34: "uint64", 35: "uint4", 36: "uint2", 37: "uint1",
    38: "uint6", 39: "uint3",
}  # fmt: skip

#: Type codes of the records in a weight file.
BLOB_DTYPES = {
    1: "fp16", 2: "fp32", 3: "uint8", 4: "int8", 6: "int16", 7: "uint16", 8: "int4", 9: "uint1", 10: "uint2",
    11: "uint4", 12: "uint3", 13: "uint6", 14: "int32", 15: "uint32",
}  # fmt: skip

#: Sub-byte integers: bits and whether negative values exist.
_PACKED = {
    "uint1": (1, False), "uint2": (2, False), "uint3": (3, False), "uint4": (4, False), "uint6": (6, False),
    "int4": (4, True),
}  # fmt: skip

_STORED = {
    "bool": np.bool_, "fp16": np.float16, "fp32": np.float32, "fp64": np.float64, "int8": np.int8,
    "int16": np.int16, "int32": np.int32, "int64": np.int64, "uint8": np.uint8, "uint16": np.uint16,
    "uint32": np.uint32, "uint64": np.uint64,
}  # fmt: skip


def item_bits(dtype: str) -> int:
    """Return the width in bits of one stored value."""
    return _PACKED[dtype][0] if dtype in _PACKED else 8 * np.dtype(_STORED[dtype]).itemsize


def boundary_dtype(dtype: str) -> np.dtype[np.generic]:
    """Return the numpy dtype in which a program's input or output of `dtype` crosses to the caller."""
    return np.dtype(_STORED[dtype])


def working_dtype(dtype: str) -> np.dtype[np.generic]:
    """Return the numpy dtype in which a value of `dtype` is held between operations.

    Half-precision values are held in float32 arrays that contain only half-representable numbers: numpy's
    own float16 arithmetic is an order of magnitude slower and rounds at the same places.
    """
    if dtype in _PACKED:
        return np.dtype(np.int8 if _PACKED[dtype][1] else np.uint8)
    return np.dtype(np.float32) if dtype == "fp16" else np.dtype(_STORED[dtype])


def round_to_half(values: Array) -> Array:
    """Return float32 values rounded to the nearest half-precision number (ties to even, overflow to infinity)."""
    return np.asarray(values).astype(np.float16).astype(np.float32)


def unpack(data: bytes, dtype: str, count: int) -> Array:
    """Return `count` stored values as a flat array in their working dtype.

    Sub-byte values are packed from the least significant bit of each byte upwards and may straddle bytes.
    """
    if dtype not in _PACKED:
        values: Array = np.frombuffer(data, _STORED[dtype], count)
        return values.astype(np.float32) if dtype == "fp16" else values
    bits, signed = _PACKED[dtype]
    stream = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: count * bits].reshape(count, bits)
    unsigned = stream @ (1 << np.arange(bits, dtype=np.uint8)).astype(np.uint8)
    if not signed:
        return np.asarray(unsigned, np.uint8)
    wrapped = unsigned.astype(np.int8)
    return np.where(wrapped >= 1 << (bits - 1), wrapped - (1 << bits), wrapped).astype(np.int8)
