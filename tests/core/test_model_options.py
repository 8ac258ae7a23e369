"""Options of a ModelSpec: scalars and lists of whole numbers, nothing else."""

import json

import pytest

from seg_core.errors import SpecError
from seg_core.spec import ModelSpec, from_json, to_json


def test_lists_come_back_as_tuples_of_whole_numbers():
    spec = ModelSpec("deeplab", 3, 3, {"atrous_rates": (6, 12, 18), "encoder": "resnet18", "aux_head": False})
    written = json.loads(json.dumps(to_json(spec)))
    assert written["options"]["atrous_rates"] == [6, 12, 18]
    assert from_json(ModelSpec, written) == spec


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        ([1, "x"], r"rates\[1\]: expected int, found str 'x'"),
        ([True], r"rates\[0\]: expected int, found bool True"),
        ([[1]], r"rates\[0\]: expected int, found list"),
        ([0.5], r"rates\[0\]: expected int, found float 0.5"),
        ({"a": 1}, "rates: expected one of bool, int, float, str, list; found dict"),
        (None, "rates: expected one of bool, int, float, str, list; found NoneType"),
    ],
)
def test_anything_else_is_refused_by_its_place(value, finding):
    with pytest.raises(SpecError, match=finding):
        from_json(ModelSpec, {"name": "deeplab", "num_classes": 3, "options": {"rates": value}})
