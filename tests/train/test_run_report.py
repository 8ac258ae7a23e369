"""The page about a run."""

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import run_events

from seg_core.errors import SegError
from seg_core.visualize import overlay
from seg_train.curves import Curve, draw_curves, format_number
from seg_train.pictures import draw_confusion
from seg_train.run_report import ReportListener

#: Of 44 x 64 counted pixels, 2 x 80 are wrong by the shift and 25 by the block of class 2.
RIGHT = "prediction, 93.4% right"
HOSTILE = "<script>alert('x')</script>\"&"


class Page(HTMLParser):
    """The tags and texts of a page, and whether every tag that was opened was closed."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def images(self):
        return [attributes for tag, attributes in self.tags if tag == "img"]


def decode(source):
    data = base64.b64decode(source.split(",", 1)[1])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def play(path, *events, title="Face", facts=None):
    listener = ReportListener(path, run_events.LABELS, title, facts or {}, lambda: run_events.NOW)
    for event in events:
        listener(event)
    return Page(path.read_text(encoding="utf-8")) if path.exists() else None


def test_a_page_has_scores_classes_pictures_and_needs_nothing_else(tmp_path):
    events = [run_events.start(), *map(run_events.step, (10, 20)), run_events.evaluation(20)]
    page = play(tmp_path / "report.html", *events, facts={"size": "64x48"})
    assert page.open == []
    assert "running, step 20 of 40 · cpu · written 2021-05-01 12:34:56" in page.texts
    assert page.texts[page.texts.index("best mIoU") + 1] == "0.7750"
    assert {"<skin> & hair", "0.7500", "50.00%", "size", "64x48", RIGHT} <= set(page.texts)
    outside = {attributes.get("src", attributes.get("href", "data:image/")) for _, attributes in page.tags}
    assert all(address.startswith("data:image/") for address in outside)
    assert not re.search(r"url\(|@import|https?:", (tmp_path / "report.html").read_text())
    pictures = [decode(attributes["src"]) for attributes in page.images()]
    np.testing.assert_array_equal(pictures[-1], draw_confusion(run_events.matrix(), run_events.LABELS.names))
    sample = run_events.samples()[0]
    shown = np.abs(pictures[1].astype(int) - overlay(sample.image_bgr, sample.truth, run_events.LABELS))
    assert shown.mean() < 6  # JPEG


def test_the_page_follows_the_run_to_its_end_and_over_a_resume(tmp_path):
    path = tmp_path / "report.html"
    assert play(path, run_events.start(), run_events.step(10), run_events.end(path)) is None  # nothing was evaluated
    better = run_events.matrix()
    better.counts[1] = 0, 4, 0
    first, second = run_events.evaluation(20), run_events.evaluation(40, matrix=better)
    page = play(path, run_events.start(), run_events.step(10), first, second, run_events.end(path))
    assert any(text.startswith("finished after 40 steps in 0:01:01") for text in page.texts)
    assert page.texts[page.texts.index("at step") + 1] == "40"
    assert "+0.2500" in page.texts  # class 1 went from 0.75 to 1

    from seg_train.history import History

    history = History(tmp_path / "history.json", run_events.LABELS.names)
    for event in (run_events.start(), run_events.step(10), first):
        history(event)
    history.save()
    resumed = play(path, run_events.start(step=20), second)
    assert "+0.2500" in resumed.texts


def test_texts_from_outside_are_shown_not_run(tmp_path):
    page = play(
        tmp_path / "report.html", run_events.start(device=HOSTILE), run_events.step(losses={"main": 1.0, HOSTILE: 2.0}),
        run_events.evaluation(), title=HOSTILE, facts={HOSTILE: HOSTILE},
    )  # fmt: skip
    assert not any(tag == "script" for tag, _ in page.tags)
    assert page.open == []
    assert page.texts.count(HOSTILE) >= 4  # <title>, heading, name and value of the setting
    assert f"{HOSTILE}_loss" in page.texts


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(SegError, match=r"report\.html: the report cannot be written"):
        play(tmp_path / "none" / "report.html", run_events.start(), run_events.evaluation())


def test_curves_lie_where_their_values_are():
    points = [(0.0, 0.0), (50.0, None), (50.0, float("nan")), (100.0, 1.0)]
    root = ElementTree.fromstring(draw_curves("t", [Curve("a", points), Curve("none", [])]))
    [line] = [element for element in root if element.tag == "polyline"]
    (x0, y0), (x1, y1) = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    assert (x0, x1) == (64, 506)
    ticks = {element.text: float(element.get("y")) - 4 for element in root if element.get("text-anchor") == "end"}
    assert (ticks["0"], ticks["1"]) == pytest.approx((y0, y1), abs=0.1)
    assert y0 > y1


def test_curves_without_values_or_with_one_or_a_thousand_are_drawn():
    assert "nothing measured yet" in draw_curves("t", [Curve("a", [(1.0, None)])])
    for value in (0.0, 0.4, -3.0):
        assert "circle" in draw_curves("t", [Curve("a", [(1.0, value)])])
    many = ElementTree.fromstring(draw_curves("t", [Curve("a", [(float(x), x % 2) for x in range(1001)])]))
    [line] = [element for element in many if element.tag == "polyline"]
    assert 200 <= len(line.get("points").split()) <= 400


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.75, "0.75"), (12000, "12,000"), (2e-5, "2e-05")])
def test_numbers_on_axes_are_short(value, text):
    assert format_number(value) == text
