"""What `torch.compile` is told."""

import pytest
import torch
from test_losses import gradients, only
from test_stepper import build, options

from seg_core.config.schema import LossSection, SolverSection
from seg_core.errors import ConfigError
from seg_train.compiling import COMPILE_OPTIONS, choose_options, compile_graph
from seg_train.losses import SegmentationLoss
from seg_train.losses.lovasz import _jaccard_slopes


def test_a_configuration_adds_to_the_options_and_outdoes_them():
    assert choose_options(SolverSection()) == COMPILE_OPTIONS
    combined = choose_options(SolverSection(compile_options={"combo_kernels": True}))
    assert combined == COMPILE_OPTIONS | {"combo_kernels": True}
    (name,) = COMPILE_OPTIONS
    assert choose_options(SolverSection(compile_options={name: 8})) == {name: 8}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("combo_kernel", "did you mean 'combo_kernels'?"),
        ("zzz", "torch._inductor.list_options() names them"),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest(name, hint):
    with pytest.raises(ConfigError) as refused:
        choose_options(SolverSection(compile_options={name: True}))
    assert str(refused.value) == f"solver.compile_options.{name}: torch.compile knows no such option; {hint}"


def test_an_unknown_option_is_refused_on_a_cpu_too():
    with pytest.raises(ConfigError, match="knows no such option"):
        build(options(compile_options={"combo_kernel": True}))


def test_all_options_of_ours_are_known_to_torch():
    assert set(COMPILE_OPTIONS) <= set(torch._inductor.list_options())


def test_the_slopes_of_the_lovasz_loss_are_one_operation_to_a_compiler():
    errors = torch.rand(3, 40, generator=torch.Generator().manual_seed(0))
    torch.library.opcheck(_jaccard_slopes, (errors, errors > 0.5))
    captured = []

    def keep(graph, _):
        captured.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    heads = {"main": torch.randn(1, 3, 4, 4, requires_grad=True)}
    torch._dynamo.reset()
    torch.compile(SegmentationLoss(only("lovasz"), 255, 3), fullgraph=True, backend=keep)(
        heads, torch.randint(0, 3, (1, 8, 8))
    )
    assert any("jaccard_slopes" in name for name in captured)
    assert not [name for name in captured if "sort" in name or "cumsum" in name]


@pytest.mark.slow
@pytest.mark.parametrize("combined", [False, True])
def test_a_loss_over_19_classes_keeps_its_values_and_slopes_when_compiled_so(combined):
    """Nineteen is under the threshold: its softmax is unrolled."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 19, (2, 32, 40), generator=generator, dtype=torch.uint8)
    target[0, :4] = 255
    loss = SegmentationLoss(LossSection(cross_entropy=1.0, dice=1.0), 255, 19)
    heads = {name: torch.randn(2, 19, 4, 5, generator=generator).requires_grad_() for name in ("main", "aux")}
    wanted = loss(heads, target)
    wanted["loss"].backward()
    slopes = gradients(heads)
    torch._dynamo.reset()
    solver = SolverSection(compile_options={"combo_kernels": True} if combined else {})
    found = compile_graph(loss, solver)(heads, target)
    found["loss"].backward()
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-5, atol=1e-6)
    for name, slope in gradients(heads).items():
        torch.testing.assert_close(slope, slopes[name], rtol=1e-4, atol=1e-7)
