import struct
import zlib

import cv2
import numpy as np
import pytest

from seg_core import ImageError, Preprocessor, PreprocessSpec, list_images, load_image, load_mask, save_image
from seg_core.containers import MAX_PIXELS


def encode(suffix, image, *options):
    written, data = cv2.imencode(suffix, image, list(options))
    assert written
    return data.tobytes()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, depth, kind, raw, *extra):
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(raw, 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + body + chunk(b"IEND", b"")


def with_exif_orientation(jpeg, orientation):
    tiff = b"II*\0" + struct.pack("<IH", 8, 1) + struct.pack("<HHII", 0x0112, 3, 1, orientation) + struct.pack("<I", 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.fixture
def smooth():
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


# ---- what is read, and how it is converted


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_files_give_their_pixels(tmp_path, smooth, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode(suffix, smooth))
    np.testing.assert_array_equal(load_image(path), smooth)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_keep_their_high_byte(tmp_path, suffix):
    deep = np.random.default_rng(1).integers(0, 65536, (9, 11, 3), np.uint16)
    path = tmp_path / f"deep{suffix}"
    path.write_bytes(encode(suffix, deep))
    np.testing.assert_array_equal(load_image(path), deep >> 8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_repeated(tmp_path, dtype):
    grey = np.arange(12, dtype=dtype).reshape(3, 4) * (20 if dtype is np.uint8 else 5000)
    path = tmp_path / "grey.png"
    path.write_bytes(encode(".png", grey))
    expected = grey if dtype is np.uint8 else grey >> 8
    image = load_image(path)
    assert image.shape == (3, 4, 3)
    assert all(np.array_equal(image[..., channel], expected) for channel in range(3))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("alpha", [0, 128])
def test_alpha_is_dropped_and_never_blended(tmp_path, smooth, suffix, alpha):
    path = tmp_path / f"alpha{suffix}"
    path.write_bytes(encode(suffix, np.dstack([smooth, np.full(smooth.shape[:2], alpha, np.uint8)])))
    np.testing.assert_array_equal(load_image(path), smooth)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, smooth, orientation, turn):
    jpeg = encode(".jpg", smooth)
    (tmp_path / "plain.jpg").write_bytes(jpeg)
    (tmp_path / "turned.jpg").write_bytes(with_exif_orientation(jpeg, orientation))
    plain = load_image(tmp_path / "plain.jpg")
    np.testing.assert_array_equal(load_image(tmp_path / "turned.jpg"), turn(plain))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_one_pixel_is_a_picture(tmp_path, suffix):
    path = tmp_path / f"one{suffix}"
    path.write_bytes(encode(suffix, np.full((1, 1, 3), 77, np.uint8)))
    assert load_image(path).shape == (1, 1, 3)


def test_unicode_and_spaces_in_paths(tmp_path, smooth):
    path = tmp_path / "Fotos für später" / "лицо 顔 [1].png"
    path.parent.mkdir()
    save_image(path, smooth)
    np.testing.assert_array_equal(load_image(path), smooth)


def test_a_very_large_picture_goes_all_the_way(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png(12000, 9000, 1, 0, (b"\0" + b"\xaa" * 1500) * 9000))
    image = load_image(path)
    assert image.shape == (9000, 12000, 3)
    assert Preprocessor(PreprocessSpec((256, 256), reduce="halve"))(image).tensor.shape == (1, 3, 256, 256)


def test_the_shipped_photographs_are_read(samples_dir):
    sizes = {path.name: load_image(path).shape[:2] for path in list_images(samples_dir)}
    assert sizes == {"astronaut.png": (512, 512), "grace_hopper.png": (600, 512), "obama.jpg": (1752, 1314)}


# ---- what is refused


def refused(path, match):
    with pytest.raises(ImageError, match=match) as caught:
        load_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_empty_directory_and_text(tmp_path):
    refused(tmp_path / "none.jpg", "no such file")
    refused(tmp_path, "is a directory")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "the file is empty")
    (tmp_path / "text.jpg").write_text("this is not an image at all, whatever its name says")
    refused(tmp_path / "text.jpg", "not an image")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, -1])
def test_a_truncated_file_is_never_a_half_grey_picture(tmp_path, smooth, suffix, kept):
    data = encode(suffix, smooth)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(len(data) * kept)] if kept > 0 else data[:-1])
    refused(path, "cut short|damaged")


@pytest.mark.parametrize("length", [25, 26, 28, 33, 34, 53])
def test_a_bmp_cut_in_its_header_is_one_line(tmp_path, smooth, length):
    path = tmp_path / "cut.bmp"
    path.write_bytes(encode(".bmp", smooth)[:length])
    refused(path, r"cut\.bmp: ")


@pytest.mark.parametrize("options", [(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_other_kinds_of_jpeg_are_walked_to_their_end(tmp_path, smooth, options):
    data = encode(".jpg", smooth, *options)
    path = tmp_path / "a.jpg"
    path.write_bytes(data + b"appended by a phone")
    assert load_image(path).shape == smooth.shape
    path.write_bytes(data[:-40])
    refused(path, "no end-of-image marker")


def test_a_thumbnails_end_is_not_the_pictures(tmp_path, smooth):
    data = encode(".jpg", smooth)
    thumbnail = encode(".jpg", smooth[:8, :8])
    nested = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    path = tmp_path / "a.jpg"
    path.write_bytes(nested)
    assert load_image(path).shape == smooth.shape
    path.write_bytes(nested[:-30])
    refused(path, "no end-of-image marker")


def test_a_flipped_bit_in_a_png_is_found(tmp_path, smooth):
    data = bytearray(encode(".png", smooth))
    data[len(data) // 2] ^= 1
    path = tmp_path / "a.png"
    path.write_bytes(data)
    refused(path, "wrong checksum in its IDAT")


def test_a_png_with_too_few_rows_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(100, 100, 8, 2, b"\0" * 1000))
    refused(path, "not an image, or a damaged one")


@pytest.mark.parametrize("side", [100_000, 2**31 - 1, 16_385])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, 8, 2, b"\0" * 1000))
    refused(path, rf"{side}x{side} pixels are more than the {MAX_PIXELS}")


def test_a_bomb_that_only_opencv_understands_is_refused(tmp_path):
    path = tmp_path / "bomb.ppm"
    path.write_bytes(b"P6\n100000 100000\n255\n" + b"\0" * 1000)
    refused(path, "refuses to decode|not an image")


def test_float_pictures_are_refused_with_a_way_out(tmp_path, smooth):
    path = tmp_path / "a.tiff"
    path.write_bytes(encode(".tiff", smooth.astype(np.float32)))
    refused(path, "float32 pixels; save it as an 8- or 16-bit image")


# ---- masks


def test_masks_are_taken_as_they_are(tmp_path):
    mask = np.random.default_rng(2).integers(0, 19, (20, 30), np.uint8)
    for name, stored in (("8", mask), ("16", mask.astype(np.uint16)), ("rgb", np.dstack([mask] * 3))):
        path = tmp_path / f"{name}.png"
        path.write_bytes(encode(".png", stored))
        loaded = load_mask(path)
        assert loaded.dtype == np.uint8
        np.testing.assert_array_equal(loaded, mask)


@pytest.mark.parametrize(("depth", "packed"), [(8, bytes([3, 1, 0, 2])), (4, b"\x31\x02"), (2, b"\xd2")])
def test_palette_masks_give_indices_not_colours(tmp_path, depth, packed):
    palette = chunk(b"PLTE", bytes([9, 9, 9] * 2 + [200, 0, 0] + [0, 200, 0]))  # two classes share a colour
    path = tmp_path / "palette.png"
    path.write_bytes(png(4, 1, depth, 3, b"\0" + packed, palette, chunk(b"tRNS", b"\0\xff\xff\xff")))
    assert load_mask(path).tolist() == [[3, 1, 0, 2]]


@pytest.mark.parametrize(("depth", "packed"), [(4, b"\x12\x0f"), (2, b"\x63"), (1, b"\xa0")])
def test_grey_masks_of_few_bits_give_indices_not_grey_levels(tmp_path, depth, packed):
    path = tmp_path / "grey.png"
    path.write_bytes(png(4, 1, depth, 0, b"\0" + packed))
    wanted = {4: [1, 2, 0, 15], 2: [1, 2, 0, 3], 1: [1, 0, 1, 0]}[depth]
    np.testing.assert_array_equal(load_mask(path), [wanted])


@pytest.mark.parametrize(("depth", "kind"), [(0, 3), (3, 3), (16, 3), (0, 0), (5, 2)])
def test_a_png_of_a_depth_that_its_kind_has_not_is_refused(tmp_path, depth, kind):
    path = tmp_path / "deep.png"
    path.write_bytes(png(4, 1, depth, kind, b"\0" + bytes(64), chunk(b"PLTE", bytes(9))))
    for load in (load_image, load_mask):
        with pytest.raises(ImageError, match=rf"deep\.png: the PNG is damaged \({depth} bits of type {kind}\)"):
            load(path)


def test_masks_that_are_pictures_or_too_deep_are_refused(tmp_path, smooth):
    (tmp_path / "colour.png").write_bytes(encode(".png", smooth))
    (tmp_path / "deep.png").write_bytes(encode(".png", np.full((4, 4), 300, np.uint16)))
    with pytest.raises(ImageError, match=r"colour\.png: is a colour picture"):
        load_mask(tmp_path / "colour.png")
    with pytest.raises(ImageError, match=r"deep\.png: holds uint16 values up to 300"):
        load_mask(tmp_path / "deep.png")


# ---- lists and writing


def test_lists_are_sorted_and_skip_what_is_no_image(tmp_path, smooth):
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG"]
    assert list_images(tmp_path / "a.png") == [tmp_path / "a.png"]


def test_an_empty_or_missing_directory_is_an_error(tmp_path):
    with pytest.raises(ImageError, match="holds no image"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="no such file or directory"):
        list_images(tmp_path / "none")


def test_a_failed_write_keeps_the_older_file_and_leaves_nothing(tmp_path, smooth, monkeypatch):
    path = tmp_path / "a.png"
    save_image(path, smooth)
    before = path.read_bytes()
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(ImageError, match=r"a\.png: cannot be written \(No space left\)"):
        save_image(path, smooth[::-1])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_where_and_what_cannot_be_written(tmp_path, smooth):
    with pytest.raises(ImageError, match="cannot be written"):
        save_image(tmp_path / "none" / "a.png", smooth)
    with pytest.raises(ImageError, match=r"cannot write \.txt"):
        save_image(tmp_path / "a.txt", smooth)
    assert list(tmp_path.iterdir()) == []
