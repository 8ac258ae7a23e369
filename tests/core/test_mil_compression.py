"""Compressed weights: what coremltools writes, expanded here, against what coremltools expands itself."""

import numpy as np
import pytest
from mil_material import convert, relative_error

from seg_core.mil import load_program
from seg_core.mil.dtypes import unpack
from seg_core.mil.ops import OPERATIONS

torch = pytest.importorskip("torch")
ct = pytest.importorskip("coremltools")


def call(name, *args, **kwargs):
    return OPERATIONS.get(name).function(*args, **kwargs)


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Give {target: (path, input, torch's result)} of one small network with weights large enough to compress."""
    torch.manual_seed(5)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, 2, 1), torch.nn.BatchNorm2d(32), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 3, 1, 1)
    )
    made = {}
    for target in ("iOS16", "iOS18"):
        path = tmp_path_factory.mktemp(target) / "net.mlpackage"
        (image,), (expected,) = convert(net, [(1, 3, 16, 16)], path, target=target)
        made[target] = path, image, expected
    return made


def compress(model, how):
    from coremltools.optimize import coreml as cto

    config = cto.OptimizationConfig
    if how == "linear":
        return cto.linear_quantize_weights(model, config(cto.OpLinearQuantizerConfig(weight_threshold=0)))
    if how == "linear_asymmetric":
        op = cto.OpLinearQuantizerConfig(mode="linear", weight_threshold=0)
        return cto.linear_quantize_weights(model, config(op))
    if how == "blocks_of_int4":
        op = cto.OpLinearQuantizerConfig(dtype="int4", granularity="per_block", block_size=16, weight_threshold=0)
        return cto.linear_quantize_weights(model, config(op))
    if how == "sparse":
        return cto.prune_weights(model, config(cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=0)))
    bits = int(how.removeprefix("palette_").removesuffix("_grouped"))
    grouped = {"granularity": "per_grouped_channel", "group_size": 16} if how.endswith("grouped") else {}
    op = cto.OpPalettizerConfig(mode="uniform", nbits=bits, weight_threshold=0, **grouped)
    return cto.palettize_weights(model, config(op))


#: Compression, target, operation that it is saved with.
WAYS = [
    ("linear", "iOS16", "constexpr_affine_dequantize"),
    ("linear", "iOS18", "constexpr_blockwise_shift_scale"),
    ("linear_asymmetric", "iOS16", "constexpr_affine_dequantize"),
    ("blocks_of_int4", "iOS18", "constexpr_blockwise_shift_scale"),
    ("palette_6", "iOS16", "constexpr_lut_to_dense"),
    ("palette_4", "iOS18", "constexpr_lut_to_dense"),
    ("palette_3_grouped", "iOS18", "constexpr_lut_to_dense"),
    ("sparse", "iOS16", "constexpr_sparse_to_dense"),
    ("sparse", "iOS18", "constexpr_sparse_to_dense"),
]


@pytest.mark.export
@pytest.mark.parametrize(("how", "target", "operation"), WAYS)
def test_compressed_weights_expand_as_coremltools_expands_them(how, target, operation, nets, tmp_path):
    path, image, expected = nets[target]
    compressed = compress(ct.models.MLModel(str(path), skip_model_load=True), how)
    compressed.save(str(tmp_path / "small.mlpackage"))
    types = {item.type for item in program_operations(compressed)}
    assert operation in types
    ct.optimize.coreml.decompress_weights(compressed).save(str(tmp_path / "dense.mlpackage"))
    found, dense = (
        next(iter(load_program(tmp_path / name).run({"x0": image}).values()))
        for name in ("small.mlpackage", "dense.mlpackage")
    )
    assert relative_error(found, dense) <= 1e-6
    assert 1e-3 < relative_error(found, expected) < 1  # compressed indeed, yet still this network


def program_operations(model):
    function = model.get_spec().mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def test_packed_bits_start_at_the_least_significant():
    assert unpack(bytes([0b01101100, 0b11]), "uint2", 5).tolist() == [0, 3, 2, 1, 3]
    assert unpack(bytes([0xF7, 0x08]), "int4", 3).tolist() == [7, -1, -8]
    assert unpack(bytes([0b11000111, 0b1]), "uint3", 3).tolist() == [7, 0, 7]  # the third straddles two bytes
    assert unpack(bytes([0b101]), "uint1", 3).tolist() == [1, 0, 1]
    assert unpack(np.float16(1.5).tobytes(), "fp16", 1).dtype == np.float32


def test_palettes_of_blocks_and_of_vectors():
    """The two worked examples of the MIL specification of constexpr_lut_to_dense (iOS 18)."""
    indices = np.array([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3], np.uint8).reshape(6, 2)
    lut = np.array([1, 5, 9, 13, 2, 10, 18, 26], np.float32).reshape(2, 1, 4, 1)
    expected = [[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]
    assert call("constexpr_lut_to_dense", indices, lut).tolist() == expected

    indices = np.array([[[0, 0], [1, 0]], [[1, 1], [0, 0]]], np.uint8)
    lut = np.array([[10, 11, 12], [20, 21, 22]], np.int8).reshape(1, 1, 1, 2, 3)
    across = call("constexpr_lut_to_dense", indices, lut, vector_axis=1)
    assert across[0].tolist() == [[10, 10], [11, 11], [12, 12], [20, 10], [21, 11], [22, 12]]
    along = call("constexpr_lut_to_dense", indices, lut, vector_axis=2)
    assert along[0].tolist() == [[10, 11, 12, 10, 11, 12], [20, 21, 22, 10, 11, 12]]


def test_sparse_values_are_scaled_by_the_block_they_lie_in():
    """The worked example of the MIL specification of constexpr_sparse_blockwise_shift_scale."""
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]], np.uint8)
    data = np.array([10, 11, 3, 4, 5, 6, 7, 8, 9], np.int8)
    scale = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    offset = np.array([[1, 2, 3, 4]], np.int8)
    kept_mask, kept = call("constexpr_sparse_blockwise_shift_scale", mask, data, scale, offset)
    np.testing.assert_array_equal(kept_mask, mask)
    np.testing.assert_allclose(kept, [0.9, 1.8, 0.2, 0.4, 0.6, 0.9, 1.2, 0.7, 1.4], rtol=1e-6)


def test_quantised_activations_round_saturate_and_come_back():
    x = np.array([[-1000, -0.26, 0.25, 0.75, 1000]], np.float32)
    stored = call("quantize", x, np.float32(0.5), "int8", np.int8(1))
    assert stored.tolist() == [[-128, 0, 1, 3, 127]]
    back = call("dequantize", stored.astype(np.int8), np.float32(0.5), np.int8(1))
    np.testing.assert_allclose(back, [[-64.5, -0.5, 0, 1, 63]])
    by_row = call("dequantize", np.array([[2], [2]], np.int8), np.array([1, 10], np.float32), axis=0)
    assert by_row.tolist() == [[2], [20]]
