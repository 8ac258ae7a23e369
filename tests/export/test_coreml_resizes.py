"""Bilinear resizing by ratios that are no whole numbers, as it is stated in a Core ML program."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from export_material import write_checkpoint

from seg_core.runners.coreml import load_program
from seg_export.parity import Reference, synthetic_samples
from seg_export.pipeline import Exporter
from seg_export.target import ConvertRequest
from seg_export.targets import get_target

pytestmark = pytest.mark.export


def resizes(path):
    """Return (operation, its scale factors or target size) of every bilinear resizing in a saved program."""
    import coremltools

    program = coremltools.models.MLModel(str(path), skip_model_load=True).get_spec().mlProgram
    function = program.functions["main"]
    operations = function.block_specializations[function.opset].operations
    values = {each.outputs[0].name: each.attributes["val"] for each in operations if each.type == "const"}
    found = []
    for each in operations:
        if each.type in ("upsample_bilinear", "resize_bilinear"):
            names = [name for name in sorted(each.inputs) if name.startswith(("scale_", "target_"))]
            stated = [values[each.inputs[name].arguments[0].name].immediateValue.tensor for name in names]
            found.append((each.type, [getattr(value, value.WhichOneof("value")).values[0] for value in stated]))
    return found


def test_a_ratio_that_is_no_whole_number_is_stated_as_a_size(tmp_path):
    # At 1/8 the size is 9x13; the pyramid's are 5x7, 3x4 and 2x2.
    reference = Reference(write_checkpoint(tmp_path / "net.pth", size_hw=(72, 104)), synthetic_samples())
    result = Exporter(reference, tmp_path, "fp32", "net").export(get_target("coreml"))
    assert result.status == "ok", result.error
    stated = resizes(result.path)
    assert {name for name, _ in stated} == {"upsample_bilinear", "resize_bilinear"}
    assert all(value == int(value) for _, values in stated for value in values), stated
    assert [values for name, values in stated if name == "resize_bilinear"] == [[9, 13]] * 3


def test_whole_ratios_stay_as_they_are(tmp_path):
    class Doubled(torch.nn.Module):
        def forward(self, x):
            return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

    assert converted(Doubled(), (1, 3, 4, 6), tmp_path / "net.mlpackage")[0] == [("upsample_bilinear", [2.0, 2.0])]


@pytest.mark.parametrize("align_corners", [False, True])
def test_both_ways_of_sampling_are_kept(align_corners, tmp_path):
    class Resized(torch.nn.Module):
        def forward(self, x):
            return F.interpolate(x, size=(9, 13), mode="bilinear", align_corners=align_corners)

    stated, difference = converted(Resized(), (1, 3, 5, 7), tmp_path / "net.mlpackage")
    assert stated == [("resize_bilinear", [9, 13])]
    assert difference < 1e-6


def converted(module, shape, path):
    """Convert `module`; return the resizings in the saved program and its largest difference from torch."""
    get_target("coreml").convert(ConvertRequest(module.eval(), shape, "fp32", path, "{}"))
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    (logits,) = load_program(path).run({"image": image.numpy()}).values()
    return resizes(path), float(np.abs(logits - module(image).numpy()).max())
