import cv2
import numpy as np
import pytest

from seg_core import ImageError, MissingDependencyError, Roi, load_image, open_video
from seg_core.faces import FaceFinder, frame_face


@pytest.fixture(scope="module")
def finder():
    return FaceFinder()


def overlap(first, second):
    """Intersection over union of two regions."""
    masks = np.zeros((2, 4000, 4000), np.bool_)
    masks[0][first.slices] = masks[1][second.slices] = True
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


# Squares drawn by hand; astronaut.png's is twice as wide as the training data's, so only its face is asked for.
@pytest.mark.parametrize(
    ("name", "square"), [("grace_hopper.png", Roi(0, 90, 360, 360)), ("obama.jpg", Roi(60, 50, 1214, 1214))]
)
def test_heads_and_shoulders_are_framed_as_by_hand(finder, samples_dir, name, square):
    found = finder.find(load_image(samples_dir / name))
    assert found.faces == 1
    assert overlap(found.roi, square) > 0.8


def test_the_astronauts_face_is_inside_its_frame(finder, samples_dir):
    roi = finder.find(load_image(samples_dir / "astronaut.png")).roi
    face = Roi(66, 177, 97, 97)
    assert roi.top < face.top < face.top + face.height < roi.top + roi.height
    assert roi.left < face.left < face.left + face.width < roi.left + roi.width
    assert roi.height < 2 * face.height


def test_the_first_frame_of_the_clip_shows_a_face(finder, samples_dir):
    with open_video(samples_dir / "carphone_pristine.mp4") as video:
        assert finder.find(next(iter(video))).faces == 1


def test_of_several_faces_the_largest_is_taken(finder, samples_dir):
    image = load_image(samples_dir / "grace_hopper.png")
    small = cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    both = np.full((600, 1024, 3), 128, np.uint8)
    both[:, :512] = image
    both[100 : 100 + small.shape[0], 600 : 600 + small.shape[1]] = small
    found = finder.find(both)
    assert found.faces == 2
    assert found.roi.left + found.roi.width <= 520


@pytest.mark.parametrize("size_hw", [(1, 1), (10, 10), (300, 300), (5, 2000)])
def test_no_face_is_an_error_with_a_way_out(finder, size_hw):
    with pytest.raises(ImageError, match=r"no frontal face found.*--roi TOP,LEFT,SIDE"):
        finder.find(np.full((*size_hw, 3), 90, np.uint8))


def test_frames_are_moved_and_cut_to_lie_inside():
    assert frame_face(100, 100, 100, (1000, 1000)) == Roi(62, 70, 160, 160)
    assert frame_face(0, 0, 100, (1000, 1000)) == Roi(0, 0, 160, 160)
    assert frame_face(890, 890, 100, (1000, 1000)) == Roi(840, 840, 160, 160)
    assert frame_face(10, 10, 100, (120, 400)) == Roi(0, 0, 120, 120)


def test_an_opencv_without_cascades_says_what_to_install(monkeypatch):
    monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pip install 'opencv-python-headless<5'"):
        FaceFinder()
