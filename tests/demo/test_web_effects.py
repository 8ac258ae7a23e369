"""What the demo's page draws and saves: classes, backgrounds, recoloured parts, pixel by pixel on a photograph."""

import cv2
import numpy as np
import pytest
from browser_material import SAMPLES, chromium, until

from seg_core import load_image

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

ARROW_UP = "\ue013"  # WebDriver's code point


class Drawn:
    """A photograph on the stage, and where its classes are."""

    def __init__(self, page):
        self.page = page
        self.image_bgr, self.labels, (top, left, height, width) = page.labelled()
        inside = np.zeros(self.labels.shape, np.bool_)
        # A few pixels away from the dashed outline.
        inside[top + 8 : top + height - 8, left + 8 : left + width - 8] = True
        self._inside = inside
        self._names = page.run("return segproof.engine.manifest.labels.names")

    def where(self, *names, margin=13):
        """Return the pixels of classes, `margin` pixels away from their borders."""
        chosen = np.isin(self.labels, [self._names.index(name) for name in names]) & self._inside
        chosen = cv2.erode(chosen.astype(np.uint8), np.ones((margin, margin), np.uint8)).astype(np.bool_)
        assert chosen.sum() > 40
        return chosen

    def change(self, *names, **options):
        """Return the mean change of the stage against the picture, in steps of 8 bits."""
        chosen = self.where(*names, **options)
        return np.abs(self.page.stage().astype(np.int16) - self.image_bgr)[chosen].mean()


@pytest.fixture(scope="module")
def page(onnx_url):
    """A page with the astronaut's face in the middle of what the network sees."""
    with chromium(phone=True) as page:
        page.open(onnx_url)
        page.choose_photo(SAMPLES / "astronaut.png")
        page.set_value("zoom", 170)
        page.find("stage").send_keys(ARROW_UP * 30)
        page.idle()
        top, _, height, _ = page.labelled()[2]
        assert (top, height) == (0, 301)
        yield page


@pytest.fixture
def drawn(page):
    return Drawn(page)


def toggle(page, name):
    """Click a class of the legend."""
    page.run("document.getElementById('classes').open = true")
    rows = page.find("legend").find_elements("tag name", "label")
    (row,) = (row for row in rows if row.text.startswith(name))
    row.click()


def test_classes_are_laid_over_the_picture(page, drawn):
    page.choose_mode("overlay")
    page.set_value("opacity", 0)
    assert drawn.change("skin") == 0
    page.set_value("opacity", 100)
    skin = drawn.where("skin")
    yellow_bgr = np.array((64, 214, 255))
    assert (page.stage()[skin] == yellow_bgr).all()
    page.screenshot("classes-phone")
    page.set_value("opacity", 50)
    halfway = (drawn.image_bgr[skin] + yellow_bgr) / 2
    assert np.abs(page.stage()[skin] - halfway).max() <= 1.5


def test_the_legend_turns_classes_off_one_by_one(page, drawn):
    page.choose_mode("overlay")
    page.set_value("opacity", 100)
    toggle(page, "skin")
    assert drawn.change("skin") == 0
    assert drawn.change("hair") > 30
    toggle(page, "skin")
    assert drawn.change("skin") > 30
    page.find("none").click()
    assert drawn.change("skin") == drawn.change("hair") == 0
    page.find("all").click()
    assert drawn.change("skin") > 30
    shares = page.run("return [...document.querySelectorAll('#legend .share')].map((each) => each.textContent)")
    counts = np.bincount(drawn.labels.ravel(), minlength=len(shares)) / drawn.labels.size
    for text, share in zip(shares, counts, strict=True):
        assert float(text.removesuffix(" %") or 0) == pytest.approx(100 * share, abs=0.51)


def test_the_background_is_blurred(page, drawn):
    page.choose_mode("blur")
    changes, edges = [], []
    for strength in (1, 6):
        page.set_value("radius", strength)
        assert drawn.change("skin") < 1
        changes.append(drawn.change("background"))
        edges.append(np.abs(cv2.Laplacian(page.stage(), cv2.CV_32F))[drawn.where("background")].mean())
    before = np.abs(cv2.Laplacian(drawn.image_bgr, cv2.CV_32F))[drawn.where("background")].mean()
    assert before > 2 * edges[0] > 2 * edges[1]
    assert changes[1] > 5 * changes[0] > 1
    page.screenshot("blur-phone")


def test_large_photos_are_blurred_as_much_as_small_ones(onnx_url, tmp_path):
    small_bgr = load_image(SAMPLES / "astronaut.png")
    cv2.imwrite(str(tmp_path / "large.png"), cv2.resize(small_bgr, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC))
    stages = []
    with chromium() as page:
        page.open(onnx_url)
        page.choose_mode("blur")
        for path in (SAMPLES / "astronaut.png", tmp_path / "large.png"):
            page.choose_photo(path)
            stages.append(cv2.resize(page.stage(), (512, 512), interpolation=cv2.INTER_AREA).astype(int))
            _, labels, _ = page.labelled()
    behind = cv2.resize(labels, (512, 512), interpolation=cv2.INTER_NEAREST) == 0
    behind = cv2.erode(behind.astype(np.uint8), np.ones((41, 41), np.uint8)).astype(np.bool_)
    assert behind.sum() > 5000
    small, large = stages
    assert np.abs(small - small_bgr)[behind].mean() > 4 * np.abs(small - large)[behind].mean()


def test_the_background_is_replaced_by_a_colour_or_a_picture(page, drawn, tmp_path):
    page.choose_mode("replace")
    page.set_value("backdrop", "#00ff00")
    assert drawn.change("skin") < 1
    behind = drawn.where("background")
    assert np.abs(page.stage()[behind].astype(int) - (0, 255, 0)).mean() < 3
    backdrop_bgr = np.full((40, 40, 3), (200, 30, 10), np.uint8)
    cv2.imwrite(str(tmp_path / "backdrop.png"), backdrop_bgr)
    page.find("backdrop-file").send_keys(str(tmp_path / "backdrop.png"))
    until(lambda: np.abs(page.stage()[behind].astype(int) - (200, 30, 10)).mean() < 3)
    assert drawn.change("skin") < 1
    page.screenshot("replace-phone")


@pytest.mark.parametrize(
    ("part", "names", "margin"), [("hair", ("hair",), 13), ("lips", ("upper_lip", "lower_lip"), 3)]
)
def test_a_part_is_recoloured(page, drawn, part, names, margin):
    page.choose_mode("recolour")
    page.set_value("part", page.run("return segproof.parts.findIndex(({ name }) => name === arguments[0])", part))
    page.set_value("tint", "#0000ff")
    page.set_value("strength", 0)
    assert drawn.change(*names, margin=margin) == 0
    page.set_value("strength", 100)
    assert drawn.change("skin") == 0
    chosen = drawn.where(*names, margin=margin)
    bluer = page.stage()[chosen].mean(axis=0) - drawn.image_bgr[chosen].mean(axis=0)
    assert bluer[0] > bluer[2] + 20
    # Light and shade stay: the picture's own grey levels are still told apart.
    grey = [cv2.cvtColor(each, cv2.COLOR_BGR2GRAY)[chosen] for each in (page.stage(), drawn.image_bgr)]
    assert np.corrcoef(*grey)[0, 1] > 0.8
    page.screenshot(f"recolour-{part}-phone")


def test_what_is_saved_is_what_is_shown_but_for_the_outline(page, drawn, tmp_path):
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.choose_mode("overlay")
    page.set_value("opacity", 100)
    shown = page.stage()
    page.find("save").click()
    saved = tmp_path / "segproof-overlay.png"
    until(saved.exists)
    image_bgr = load_image(saved)
    assert image_bgr.shape == drawn.image_bgr.shape
    assert np.array_equal(image_bgr[drawn.where("skin")], shown[drawn.where("skin")])
    seen = drawn.labels == 0  # of which nothing is drawn but the outline
    assert not np.array_equal(shown[seen], drawn.image_bgr[seen])
    assert np.array_equal(image_bgr[seen], drawn.image_bgr[seen])
