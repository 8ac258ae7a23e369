"""Look at an image file's bytes before they are decoded: is it whole, and how large does it claim to be?

Decoders are lenient: some OpenCV releases return a half-grey picture for half a JPEG, and a 60-byte PNG may ask
for 30 GB. Both are found here, from the container's own structure, without decoding a pixel.
"""

from __future__ import annotations

import re
import struct
import zlib

from seg_core.errors import ImageError

#: Largest picture that is decoded: 16384 x 16384, about 0.8 GB as BGR and the most that WebP can hold.
MAX_PIXELS = 1 << 28

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Bits of a sample by colour type: grey, colours, palette, grey and colours with alpha.
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")

#: As far as a BMP is read here; of what is shorter only OS/2's header of 26 bytes is one, and decoders know that.
_BMP_HEADER = 34

# In entropy-coded JPEG data 0xFF is followed by 0 (a stuffed byte), a restart marker or another fill byte.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_JPEG_END, _JPEG_SCAN = 0xD9, 0xDA
# SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC), which share the range.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_container(data: bytes) -> None:
    """Raise ImageError (without a file name) when `data` is empty, cut short, damaged or claims too many pixels.

    PNG, JPEG, WebP and BMP are walked to their end; other formats are left to their decoder.
    """
    if not data:
        raise ImageError("the file is empty")
    size_hw = None
    if data.startswith(PNG_SIGNATURE):
        size_hw = _check_png(data)
    elif data.startswith(b"\xff\xd8"):
        size_hw = _check_jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _check_length(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    elif data[:2] == b"BM" and len(data) >= _BMP_HEADER:
        size_hw = _check_bmp(data)
    if size_hw is not None:
        check_size(size_hw)


def check_size(size_hw: tuple[int, int]) -> None:
    """Raise ImageError (without a file name) when a picture of `size_hw` would be too large to decode."""
    height, width = size_hw
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{width}x{height} pixels are more than the {MAX_PIXELS} that are decoded; scale it down first"
        )


def png_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Return (kind, start of body, length of body) of each chunk up to IEND; raises ImageError when cut or damaged."""
    chunks = []
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data):
            break
        if kind in _PNG_CRITICAL and zlib.crc32(data[position + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise ImageError(f"the PNG is damaged (wrong checksum in its {kind.decode()} chunk)")
        chunks.append((kind, position + 8, length))
        if kind == b"IEND":
            return chunks
        position = end + 4
    raise ImageError(f"the PNG is cut short ({len(data)} bytes, no IEND chunk)")


def _check_png(data: bytes) -> tuple[int, int]:
    kind, start, length = png_chunks(data)[0]
    if kind != b"IHDR" or length != 13:
        raise ImageError("the PNG is damaged (it does not begin with IHDR)")
    width, height, depth, colour_type = struct.unpack_from(">IIBB", data, start)
    if depth not in _PNG_DEPTHS.get(colour_type, ()):
        raise ImageError(f"the PNG is damaged ({depth} bits of type {colour_type}); save it again in a viewer")
    return height, width


def _check_jpeg(data: bytes) -> tuple[int, int] | None:
    size_hw = None
    position = 2
    while match := _JPEG_MARKER.search(data, position):
        marker, position = data[match.end() - 1], match.end()
        if marker == _JPEG_END:
            return size_hw
        if marker == 0x01:  # TEM stands alone, without a length
            continue
        if position + 2 > len(data):
            break
        length = struct.unpack_from(">H", data, position)[0]
        if marker in _JPEG_FRAMES and position + 7 <= len(data):
            height, width = struct.unpack_from(">HH", data, position + 3)
            size_hw = height, width
        position += length
    raise ImageError(f"the JPEG is cut short ({len(data)} bytes, no end-of-image marker)")


def _check_bmp(data: bytes) -> tuple[int, int] | None:
    header = struct.unpack_from("<I", data, 14)[0]
    if header < 40:  # the OS/2 header of 1988
        return None
    width, height = struct.unpack_from("<ii", data, 18)
    planes_bits, compression = struct.unpack_from("<H", data, 28)[0], struct.unpack_from("<I", data, 30)[0]
    if compression in (0, 3):  # uncompressed, with or without bit masks: rows of whole 4-byte words
        rows = abs(height) * ((abs(width) * planes_bits + 31) // 32 * 4)
        _check_length(len(data), struct.unpack_from("<I", data, 10)[0] + rows)
    return abs(height), abs(width)


def _check_length(found: int, wanted: int) -> None:
    if found < wanted:
        raise ImageError(f"the file is cut short ({found} of {wanted} bytes)")
