"""Read and write pictures and masks; the one place where files become pixels.

The currency is BGR uint8 (H, W, 3). EXIF orientation is applied. Alpha is dropped, never blended. Grey is repeated
into three channels. 16-bit values keep their high byte (`value >> 8`), whatever the container. Paths may hold any
character: files are read by Python and decoded from memory.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from seg_core.atomic import replacing
from seg_core.containers import PNG_SIGNATURE, check_container, check_size, png_chunks
from seg_core.errors import ImageError
from seg_core.video import open_video

__all__ = ["IMAGE_SUFFIXES", "UInt8", "list_images", "load_image", "load_mask", "open_video", "save_image"]

UInt8 = npt.NDArray[np.uint8]

#: What `list_images` takes from a directory. A file named directly may be anything that OpenCV decodes.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


_REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


def load_image(path: str | Path, reduce: int = 1) -> UInt8:
    """Read a picture as BGR uint8 (H, W, 3), converted as the module says; raises ImageError naming the file.

    With `reduce` 2, 4 or 8 a JPEG is decoded at that fraction of its size, sides rounded up, in a fraction of the
    time; other formats come whole.
    """
    path = path if isinstance(path, Path) else Path(path)  # a copy of a path takes as long as changing the colours
    data = read_image_bytes(path)
    if reduce in _REDUCED and data.startswith(b"\xff\xd8"):
        return cast(UInt8, _decode(path, data, _REDUCED[reduce]))
    image = _decode(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.dtype != np.uint8:
        raise ImageError(f"{path}: holds {image.dtype} pixels; save it as an 8- or 16-bit image")
    return cast(UInt8, image)


def load_mask(path: str | Path) -> UInt8:
    """Read a mask as class indices uint8 (H, W).

    One-channel files are taken as they are, grey PNGs of 1, 2 and 4 bits too; palette PNGs give their indices, not
    their colours; colour files must have three equal channels. 16-bit masks must not exceed 255. EXIF orientation is
    not applied. Raises ImageError naming the file.
    """
    path = Path(path)
    data = read_image_bytes(path)
    data, step = _as_grey_png(data)
    mask = _decode(path, data, cv2.IMREAD_UNCHANGED)
    if mask.ndim == 3:
        first = mask[..., 0]
        if any(not np.array_equal(first, mask[..., channel]) for channel in range(1, min(mask.shape[2], 3))):
            raise ImageError(f"{path}: is a colour picture; a mask has one channel of class indices 0..255")
        mask = np.ascontiguousarray(first)
    if mask.dtype not in (np.uint8, np.uint16) or int(mask.max()) > 255:
        raise ImageError(f"{path}: holds {mask.dtype} values up to {mask.max()}; a mask has class indices 0..255")
    return (mask // step).astype(np.uint8)


def list_images(path: str | Path) -> list[Path]:
    """Return `path` itself, or the images lying in the directory `path` sorted by name (hidden ones left out).

    Raises ImageError when there is no such path or the directory holds no image.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise ImageError(f"{path}: no such file or directory")
        return [path]
    found = [
        item
        for item in sorted(path.iterdir())
        if item.suffix.lower() in IMAGE_SUFFIXES and not item.name.startswith(".") and item.is_file()
    ]
    if not found:
        raise ImageError(f"{path}: holds no image (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
    return found


def save_image(path: str | Path, image: UInt8) -> None:
    """Write BGR uint8 (H, W, 3) or one-channel uint8 (H, W) in the format that the suffix of `path` names.

    The file appears whole or not at all. Raises ImageError when the suffix is unknown or the directory cannot be
    written.
    """
    path = Path(path)
    try:
        written, data = cv2.imencode(path.suffix.lower(), image)
    except cv2.error:
        written = False
    if not written:
        raise ImageError(f"{path}: cannot write {path.suffix or 'a file without suffix'} of {image.shape}; use .png")
    try:
        with replacing(path) as draft:
            draft.write_bytes(data.tobytes())
    except OSError as error:
        raise ImageError(f"{path}: cannot be written ({error.strerror}); choose another directory") from None


def read_image_bytes(path: Path) -> bytes:
    """Return the bytes of an image file that is whole; raises ImageError naming the file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except OSError as error:
        if path.is_dir():
            raise ImageError(f"{path}: is a directory, not an image") from None
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        check_container(data)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    return data


def _decode(path: Path, data: bytes, flags: int) -> npt.NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"{path}: OpenCV refuses to decode it ({error.err or error})") from None
    if image is None:
        raise ImageError(f"{path}: not an image, or a damaged one; open it in a viewer and save it again")
    try:
        check_size((image.shape[0], image.shape[1]))
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    return image


def _as_grey_png(data: bytes) -> tuple[bytes, int]:
    """Return a palette PNG relabelled as a grey one, other files as they are, and the grey step of one index.

    OpenCV can only expand a palette to colours. The pixel data of the two PNG kinds is the same, so a changed colour
    type and a dropped palette make it hand over the indices; decoders stretch 1, 2 and 4 bits to 0..255.
    """
    if not data.startswith(PNG_SIGNATURE):
        return data, 1
    chunks = png_chunks(data)
    _, start, length = chunks[0]
    depth, kind = data[start + 8], data[start + 9]
    if kind not in (0, 3):
        return data, 1
    step = 255 // ((1 << min(depth, 8)) - 1)
    if kind == 0:
        return data, step
    header = b"IHDR" + data[start : start + 9] + b"\0" + data[start + 10 : start + length]
    parts = [PNG_SIGNATURE, struct.pack(">I", length), header, struct.pack(">I", zlib.crc32(header))]
    parts += [data[at - 8 : at + size + 4] for name, at, size in chunks if name in (b"IDAT", b"IEND")]
    return b"".join(parts), step
