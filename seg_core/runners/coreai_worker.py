"""The process that holds Core AI's runtime for `seg_core.runners.coreai`, and the messages between the two.

The runtime ends its whole process where others raise: by SIGSEGV on a package without a program, by SIGABRT on a
program that it cannot parse. It therefore never runs in the caller's process. As a script this file imports
nothing of ours, so that the child finds what it needs however the caller was started.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal[b"R", b"D", b"F"]

#: The function is loaded; the payload is JSON that states its tensors and the runtime.
READY: Kind = b"R"
#: Arrays: the feeds on their way there, the results on their way back.
DATA: Kind = b"D"
#: It failed; the payload says why and the process ends.
FAILED: Kind = b"F"

_HEADER = struct.Struct("<1sQ")


def send(stream: BinaryIO, kind: Kind, payload: bytes) -> None:
    """Write one message."""
    stream.write(_HEADER.pack(kind, len(payload)))
    stream.write(payload)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """Return the next message as (kind, payload), or None when the other side is gone."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    kind, length = _HEADER.unpack(header)
    payload = stream.read(length)
    return (kind, payload) if len(payload) == length else None


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return named arrays as bytes; their memory order becomes C."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    return buffer.getvalue()


def unpack(payload: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the named arrays that `pack` wrote."""
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        return dict(arrays)


async def serve(path: Path, requests: BinaryIO, replies: BinaryIO) -> None:
    """Load the package at `path` and run it on every request until there are no more."""
    from coreai.authoring import AIModelAsset
    from coreai.runtime import NDArray, _use_os_coreai

    async with AIModelAsset.load(path).executable() as model:
        function = model.load_function("main")
        about = function.desc
        facts = {
            "system_runtime": bool(_use_os_coreai),
            "inputs": {name: _tensor(about.input_descriptor(name)) for name in about.input_names},
            "outputs": {name: _tensor(about.output_descriptor(name)) for name in about.output_names},
        }
        send(replies, READY, json.dumps(facts).encode())
        # Reading blocks the event loop on purpose: between two frames there is nothing else to do.
        while (request := receive(requests)) is not None:
            feeds = {name: NDArray(array) for name, array in unpack(request[1]).items()}
            results = await function(feeds)
            send(replies, DATA, pack({name: array.numpy() for name, array in results.items()}))


def _tensor(descriptor: Any) -> dict[str, Any]:
    return {"shape": list(descriptor.shape), "dtype": str(descriptor.dtype)}


def main(path: str) -> None:
    """Serve the package at `path` over standard input and output."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints must not end up among the replies
    try:
        asyncio.run(serve(Path(path), sys.stdin.buffer, replies))
    except Exception as error:  # whatever it is, the parent is to say it in its own words
        send(replies, FAILED, f"{type(error).__name__}: {error}".encode())


if __name__ == "__main__":
    main(sys.argv[1])
