"""Files and frames that the C++ port and Python are both given."""

import itertools
import struct
import zlib

import cv2
import numpy as np

from seg_core import PreprocessSpec
from seg_core.spec import to_json
from seg_demo.golden import draw_picture


def add_chunk(png, kind, body):
    """Return a PNG with one more chunk before its pixels."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    at = png.index(b"IDAT") - 4
    return png[:at] + chunk + png[at:]


def draw_files(folder):
    """Write pictures of every kind that the contract names, and return their paths."""
    generator = np.random.default_rng(5)
    colour = cv2.resize(generator.integers(0, 256, (6, 9, 3), np.uint8), (90, 61), interpolation=cv2.INTER_CUBIC)
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0"
    encoded = {
        "colour.png": cv2.imencode(".png", colour)[1].tobytes(),
        "grey.png": cv2.imencode(".png", colour[..., 0])[1].tobytes(),
        "alpha.png": cv2.imencode(".png", np.dstack([colour, colour[..., 1]]))[1].tobytes(),
        "deep.png": cv2.imencode(".png", colour.astype(np.uint16) * 257 + 200)[1].tobytes(),
        "bits.png": cv2.imencode(".png", colour[..., 0], [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes(),
        "colour.ppm": cv2.imencode(".ppm", colour)[1].tobytes(),
        "grey.pgm": cv2.imencode(".pgm", colour[..., 0])[1].tobytes(),
        "gamma.png": add_chunk(cv2.imencode(".png", colour)[1].tobytes(), b"gAMA", struct.pack(">I", 100_000)),
        "palette.png": draw_palette(generator),
    }
    for orientation in range(1, 9):
        encoded[f"turned{orientation}.png"] = add_chunk(encoded["colour.png"], b"eXIf", exif % orientation)
    for name, data in encoded.items():
        (folder / name).write_bytes(data)
    return sorted(folder / name for name in encoded)


def draw_palette(generator):
    """Return a palette PNG of 4 bits with a translucent entry."""
    rows = generator.integers(0, 256, (7, 5), np.uint8)
    header = struct.pack(">IIBBBBB", 10, 7, 4, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    png = b"\x89PNG\r\n\x1a\n"
    parts = {b"IHDR": header, b"PLTE": generator.bytes(48), b"tRNS": b"\x00\x80", b"IDAT": pixels, b"IEND": b""}
    for kind, body in parts.items():
        png += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png


def carry_cases(manifest):
    """Yield (spec, case): a frame and the one before it, under every policy, layout, colour and dtype."""
    choices = itertools.product(
        ("stretch", "letterbox", "center_crop"), ("nchw", "nhwc"), ("rgb", "gray"), (True, False)
    )
    for seed, (policy, layout, color, raw) in enumerate(choices, start=1):
        channels = 2 if color == "gray" else 4
        spec = PreprocessSpec(
            (12, 10), color, policy, layout=layout, dtype="uint8" if raw else "float32", scale=1.0 if raw else 1 / 255,
            mean=(0.0,) * channels if raw else (0.485, 0.456, 0.406, 0.0)[-channels:], pad_value=7,
            std=(1.0,) * channels if raw else (0.229, 0.224, 0.225, 0.25)[-channels:],
            prior="previous_labels", prior_values=tuple(range(10, 29)),
        )  # fmt: skip
        tensor = {"shape": spec.tensor_shape, "dtype": spec.dtype, "layout": layout}
        output = {"shape": (1, 12, 10), "dtype": "uint8", "layout": "nhw", "role": "labels"}
        changed = manifest | {
            "preprocess": to_json(spec),
            "inputs": [manifest["inputs"][0] | tensor],
            "outputs": [manifest["outputs"][0] | output],
        }
        for before, after, old, new in (
            ((23, 37), (23, 37), None, None),
            ((23, 37), (23, 37), (2, 3, 15, 20), (4, 1, 17, 21)),
            ((23, 37), (24, 37), None, (0, 0, 20, 20)),
        ):
            case = {"seed": seed, "classes": 20, "before": before, "after": after, "roi_before": old, "roi_after": new}
            yield spec, case | {"manifest": changed}


def draw_bytes(seed, count):
    return draw_picture(seed, (1, -(-count // 3))).ravel()[:count]
