import numpy as np
import pytest

from seg_core import ImageError, Preprocessor, PreprocessSpec, Roi, SpecError


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
def test_channels_are_where_the_spec_says(color, layout):
    channels = 1 if color == "gray" else 3
    raw = {"scale": 1.0, "mean": (0.0,) * channels, "std": (1.0,) * channels}
    spec = PreprocessSpec((2, 3), color=color, layout=layout, **raw)
    canvas = np.broadcast_to(np.array([10, 20, 30], np.uint8), (2, 3, 3))
    tensor = Preprocessor(spec)(canvas).tensor
    assert tensor.shape == spec.tensor_shape
    pixel = tensor[0, :, 1, 1] if layout == "nchw" else tensor[0, 1, 1]
    luma = (3735 * 10 + 19235 * 20 + 9798 * 30 + 16384) >> 15
    assert pixel.tolist() == {"rgb": [30, 20, 10], "bgr": [10, 20, 30], "gray": [luma]}[color]


def test_uint8_tensors_are_the_pixels_themselves(image):
    spec = PreprocessSpec(
        (50, 70), color="bgr", scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3, dtype="uint8", layout="nhwc"
    )
    tensor = Preprocessor(spec)(image).tensor
    assert tensor.dtype == np.uint8
    np.testing.assert_array_equal(tensor[0], image)


def test_the_two_halves_are_the_whole(image):
    preprocessor = Preprocessor(PreprocessSpec((32, 40), resize="letterbox", reduce="halve"))
    canvas, geometry = preprocessor.to_canvas(image, Roi(5, 6, 40, 60))
    whole = preprocessor(image, Roi(5, 6, 40, 60))
    assert whole.geometry == geometry
    assert whole.tensor.tobytes() == preprocessor.to_tensor(canvas).tobytes()


def test_views_and_read_only_pictures_are_taken_and_left_alone(image):
    preprocessor = Preprocessor(PreprocessSpec((16, 16)))
    mirrored = image[:, ::-1]
    before = image.copy()
    image.flags.writeable = False
    expected = preprocessor(np.ascontiguousarray(mirrored)).tensor
    np.testing.assert_array_equal(preprocessor(mirrored).tensor, expected)
    np.testing.assert_array_equal(image, before)


def test_a_result_shares_no_memory_with_its_picture(image):
    spec = PreprocessSpec(
        (50, 70), color="bgr", scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3, dtype="uint8", layout="nhwc"
    )
    canvas, _ = Preprocessor(spec).to_canvas(image)
    canvas[:] = 0
    assert image.any()


def test_nothing_depends_on_the_content_of_the_picture():
    preprocessor = Preprocessor(PreprocessSpec((8, 8)))
    dark = np.zeros((20, 20, 3), np.uint8)
    dark[0, 0] = 1
    bright = dark.copy()
    bright[10:, 10:] = 255
    # The far corner of the brighter picture must not change the near one.
    np.testing.assert_array_equal(preprocessor(dark).tensor[..., :3, :3], preprocessor(bright).tensor[..., :3, :3])


def test_padding_is_normalised_like_a_pixel():
    preprocessor = Preprocessor(PreprocessSpec((8, 8), resize="letterbox", pad_value=114))
    padded = preprocessor(np.full((4, 8, 3), 7, np.uint8)).tensor
    plain = preprocessor(np.full((8, 8, 3), 114, np.uint8)).tensor
    np.testing.assert_array_equal(padded[:, :, :2], plain[:, :, :2])


def test_one_pixel_fills_the_tensor():
    tensor = Preprocessor(PreprocessSpec((16, 16)))(np.full((1, 1, 3), 200, np.uint8)).tensor
    assert all(np.unique(plane).size == 1 for plane in tensor[0])


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
    ],
)
def test_other_arrays_are_refused_with_what_was_found(wrong):
    with pytest.raises(ImageError, match=rf"expected BGR uint8 \(H, W, 3\), found {wrong.dtype}"):
        Preprocessor(PreprocessSpec((4, 4)))(wrong)


def test_a_canvas_of_another_size_is_refused(image):
    with pytest.raises(SpecError, match="canvas"):
        Preprocessor(PreprocessSpec((4, 4))).to_tensor(image)


def test_masks_follow_the_picture(image):
    preprocessor = Preprocessor(PreprocessSpec((20, 20), resize="letterbox"))
    _, geometry = preprocessor.to_canvas(image)
    mask = preprocessor.resize_mask(np.full((50, 70), 3, np.uint8), geometry, pad_label=11)
    assert mask.shape == (20, 20)
    assert set(np.unique(mask)) == {3, 11}
