"""Small torch functions turned into saved Core ML packages, and the comparison with torch."""

import logging
import warnings

import numpy as np

from seg_core.mil import load_program


def convert(function, shapes, path, target="iOS15", precision="FLOAT32", frontend="trace", seed=0):
    """Save `function` of random inputs of `shapes` as a package at `path`; return (inputs, torch's results)."""
    import torch

    logging.getLogger("coremltools").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    import coremltools as ct

    if isinstance(function, torch.nn.Module):
        module = function.eval()
    else:

        class Wrapped(torch.nn.Module):
            def forward(self, *values):
                return function(*values)

        module = Wrapped().eval()
    generator = torch.Generator().manual_seed(seed)
    tensors = tuple(torch.randn(shape, generator=generator) for shape in shapes)
    with torch.no_grad():
        expected = module(*tensors)
        if frontend == "trace":
            program = torch.jit.trace(module, tensors)
            declared = [ct.TensorType(name=f"x{i}", shape=t.shape, dtype=np.float32) for i, t in enumerate(tensors)]
        else:
            program = torch.export.export(module, tensors).run_decompositions({})
            declared = None
    model = ct.convert(
        program,
        inputs=declared,
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, target),
        compute_precision=getattr(ct.precision, precision),
    )
    model.save(str(path))
    results = expected if isinstance(expected, (tuple, list)) else (expected,)
    return [t.numpy() for t in tensors], [t.numpy() for t in results]


def run_against_torch(function, shapes, path, **options):
    """Convert, save, load, run; return (program, list of (ours, torch's) pairs in the order of the outputs)."""
    inputs, expected = convert(function, shapes, path, **options)
    program = load_program(path)
    found = program.run(dict(zip(program.inputs, inputs, strict=True)))
    return program, list(zip(found.values(), expected, strict=True))


def relative_error(found, expected):
    """Largest absolute difference over the largest absolute expected value."""
    return float(np.abs(found.astype(np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))
