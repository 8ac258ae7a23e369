import json

import numpy as np
import pytest

from seg_core.errors import ConfigError
from seg_core.label_merge import MERGES, load_merge, merge_labels, merge_of_task
from seg_core.labels import CAMVID_11, CELEBAMASK_HQ, LabelSet

SIDES = LabelSet(("bg", "l_eye", "r_eye", "l_brow", "r_brow", "nose"), flip_pairs=((1, 2), (3, 4)))


@pytest.mark.parametrize("name", sorted(MERGES))
def test_built_in_merges_take_every_class_once_and_have_the_size_they_say(name):
    merged, table = merge_labels(CELEBAMASK_HQ, name)
    assert merged.num_classes == int(name.removeprefix("face_"))
    assert sorted(set(table[:19].tolist())) == list(range(merged.num_classes))
    assert (table[19:] == 255).all()
    assert merged.flip_pairs == ()  # both sides of a face are one class in all of them
    assert merged.palette[0] == (0, 0, 0)


def test_face_6_puts_pixels_where_its_docstring_says():
    merged, table = merge_labels(CELEBAMASK_HQ, "face_6")
    assert merged.names == ("background", "skin", "brows", "eyes", "mouth", "hair")
    shown = {name: merged.names[table[index]] for index, name in enumerate(CELEBAMASK_HQ.names)}
    assert shown["neck"] == shown["nose"] == shown["left_ear"] == shown["eye_glasses"] == "skin"
    assert shown["cloth"] == shown["hat"] == shown["background"] == "background"
    assert shown["inner_mouth"] == shown["upper_lip"] == "mouth"
    assert merged.palette[merged.names.index("hair")] == CELEBAMASK_HQ.palette[13]


def test_left_and_right_groups_stay_flip_pairs():
    groups = {"right": ["r_brow", "r_eye"], "middle": ["nose"], "left": ["l_eye", "l_brow"], "ignore": ["bg"]}
    merged, table = merge_labels(SIDES, groups)
    assert merged.names == ("right", "middle", "left")
    assert merged.flip_pairs == ((0, 2),)
    assert table[:6].tolist() == [255, 2, 0, 2, 0, 1]


def test_sides_grouped_unlike_are_refused():
    groups = {"a": ["bg", "l_eye", "l_brow"], "b": ["r_eye"], "c": ["r_brow", "nose"]}
    with pytest.raises(ConfigError, match=r"data\.merge: classes 'bg' and 'l_eye' are in one group, but mirror images"):
        merge_labels(SIDES, groups)


def test_ignoring_one_side_is_refused():
    groups = {"a": ["bg", "nose", "l_brow", "r_brow"], "b": ["l_eye"], "ignore": ["r_eye"]}
    with pytest.raises(ConfigError, match=r"data\.merge: of 'l_eye' and 'r_eye' only one is ignored"):
        merge_labels(SIDES, groups)


def test_the_ignore_index_survives_even_when_it_was_a_class():
    groups = {"scene": list(CAMVID_11.names[:6]), "things": list(CAMVID_11.names[6:])}
    merged, table = merge_labels(CAMVID_11, groups)
    assert merged.ignore_index == 11
    assert table[11] == 11
    merged, table = merge_labels(LabelSet(("void", "a", "b"), ignore_index=0), {"x": ["void", "a"], "y": ["b"]})
    assert (merged.ignore_index, table[:3].tolist()) == (255, [255, 0, 1])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": ["bg", "noze"], "b": []}, r"a: unknown class 'noze'; did you mean 'nose'\?"),
        ({"a": ["bg"], "b": ["nose", "bg"]}, r"class 'bg' is in both 'a' and 'b'; leave it in one"),
        ({"a": ["bg"], "b": ["nose"]}, r"class 'l_eye' is in no group; put it into one, or into 'ignore'"),
        ({"a": list(SIDES.names), "b": []}, r"b: has no old classes"),
        ({"a": list(SIDES.names)}, r"expected at least two groups"),
    ],
)
def test_errors_name_the_class(groups, message):
    with pytest.raises(ConfigError, match=rf"^data\.merge: {message}$"):
        merge_labels(SIDES, groups)


def test_a_merge_may_be_a_json_file(tmp_path):
    path = tmp_path / "merge.json"
    path.write_text(json.dumps({"face": [*SIDES.names[1:]], "bg": ["bg"]}))
    merged, table = merge_labels(SIDES, str(path))
    assert merged.names == ("face", "bg")
    assert np.array_equal(table[:6], [1, 0, 0, 0, 0, 0])
    path.write_text('{"face": "bg"}')
    with pytest.raises(
        ConfigError, match=r"data\.merge: .*merge\.json: expected an object of \{new name: \[old names\]\}"
    ):
        load_merge(str(path))
    with pytest.raises(ConfigError, match=r"data\.merge: .*gone\.json cannot be read"):
        load_merge(str(tmp_path / "gone.json"))
    with pytest.raises(ConfigError, match=r"unknown merge 'face_9'; did you mean 'face_"):
        load_merge("face_9")


def test_tasks_of_the_older_engine_name_merges():
    assert [merge_of_task(task) for task in ("Face-10", "Face-8", "face_6", "Face-19", "")] == [
        "face_10", "face_8", "face_6", None, None,
    ]  # fmt: skip
