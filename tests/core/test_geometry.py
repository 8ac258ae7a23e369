import numpy as np
import pytest

from seg_core import ImageError, PreprocessSpec, Roi, SpecError, plan_geometry


def spec(size_hw, resize):
    return PreprocessSpec(size_hw, resize=resize)


@pytest.mark.parametrize(
    ("source_hw", "size_hw", "resized_hw", "pad"),
    [
        ((720, 1280), (256, 256), (144, 256), (56, 0)),
        ((1280, 720), (256, 256), (256, 144), (0, 56)),
        ((100, 100), (256, 256), (256, 256), (0, 0)),
        ((3, 2), (10, 10), (10, 7), (0, 1)),  # 2 * 10 / 3 = 6.67; of 3 spare columns one goes left
        ((4, 3), (10, 10), (10, 8), (0, 1)),  # 7.5 rounds up
        ((1000, 1), (8, 8), (8, 1), (0, 3)),  # never thinner than a pixel
        ((2, 5), (64, 32), (13, 32), (25, 0)),
    ],
)
def test_letterbox_sizes(source_hw, size_hw, resized_hw, pad):
    geometry = plan_geometry(source_hw, spec(size_hw, "letterbox"))
    assert (geometry.resized_hw, geometry.pad_top_left) == (resized_hw, pad)
    assert geometry.box == Roi(0, 0, *source_hw)


@pytest.mark.parametrize(
    ("source_hw", "size_hw", "box"),
    [
        ((720, 1280), (256, 256), Roi(0, 280, 720, 720)),
        ((1281, 720), (256, 256), Roi(280, 0, 720, 720)),
        ((100, 101), (10, 20), Roi(24, 0, 51, 101)),  # 50.5 rounds up
        ((1, 1000), (100, 1), Roi(0, 499, 1, 1)),
    ],
)
def test_center_crop_boxes(source_hw, size_hw, box):
    geometry = plan_geometry(source_hw, spec(size_hw, "center_crop"))
    assert geometry.box == box
    assert (geometry.resized_hw, geometry.pad_top_left) == (size_hw, (0, 0))


def test_a_region_replaces_the_picture_in_every_policy():
    roi = Roi(10, 20, 40, 80)
    for policy in ("stretch", "letterbox"):
        assert plan_geometry((100, 200), spec((32, 32), policy), roi).box == roi
    assert plan_geometry((100, 200), spec((32, 32), "center_crop"), roi).box == Roi(10, 40, 40, 40)


@pytest.mark.parametrize("roi", [Roi(0, 0, 101, 10), Roi(0, 0, 10, 201), Roi(100, 0, 1, 1), Roi(0, 200, 1, 1)])
def test_a_region_beyond_the_picture_is_named_with_the_size(roi):
    with pytest.raises(ImageError, match=rf"{roi}.*beyond the image of 100x200"):
        plan_geometry((100, 200), spec((32, 32), "stretch"), roi)


@pytest.mark.parametrize("numbers", [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 0, 5), (0, 0, 5, 0)])
def test_an_empty_or_negative_region_is_refused(numbers):
    with pytest.raises(ImageError, match="at least one pixel"):
        Roi(*numbers)


def test_labels_return_to_their_pixels_and_the_rest_is_outside():
    geometry = plan_geometry((10, 12), spec((2, 4), "stretch"), Roi(2, 4, 4, 8))
    labels = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.uint8)
    restored = geometry.restore_labels(labels, outside_label=9)
    assert restored.shape == (10, 12)
    np.testing.assert_array_equal(restored[2:6, 4:], labels.repeat(2, 0).repeat(2, 1))
    restored[2:6, 4:] = 9
    assert (restored == 9).all()


def test_padding_never_comes_back_and_never_holds_a_class():
    geometry = plan_geometry((8, 16), spec((16, 16), "letterbox"))
    canvas = np.full((16, 16), 77, np.uint8)
    canvas[4:12] = 3
    assert (geometry.restore_labels(canvas) == 3).all()
    projected = geometry.project_labels(np.full((8, 16), 5, np.uint8), pad_label=255)
    assert (projected[4:12] == 5).all()
    assert (projected[:4] == 255).all()
    assert (projected[12:] == 255).all()


@pytest.mark.parametrize("policy", ["stretch", "letterbox", "center_crop"])
def test_a_mask_survives_the_way_to_a_larger_network_and_back(policy):
    mask = np.random.default_rng(0).integers(0, 19, (30, 40), np.uint8)
    geometry = plan_geometry((30, 40), spec((120, 160), policy))
    np.testing.assert_array_equal(geometry.restore_labels(geometry.project_labels(mask, 255)), mask)


def test_labels_and_masks_of_another_size_are_refused():
    geometry = plan_geometry((10, 12), spec((4, 4), "stretch"))
    with pytest.raises(SpecError, match=r"expected uint8 \(4, 4\)"):
        geometry.restore_labels(np.zeros((10, 12), np.uint8))
    with pytest.raises(SpecError, match=r"expected uint8 \(10, 12\)"):
        geometry.project_labels(np.zeros((4, 4), np.uint8), 255)
