"""`seg-models`: what networks there are, and what is known about each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seg_core.cli.command import SegCommand, click
from seg_core.cli.convention import parse_size

if TYPE_CHECKING:
    from seg_core.models.zoo import ModelFacts, ModelOption, Proof

_CONVENTION = "GMACs: 10^9 multiply-accumulates of convolutions and matrix products for one image, main head alone."

_EPILOG = """\b
Examples:
  seg-models list
  seg-models show ddrnet_23_slim
  seg-models show deeplabv3plus --size 384x512 --option encoder=mobilenet_v2 --option atrous_rates=3,6,9
  seg-models list --json
"""

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def _parse_pairs(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    wrong = [value for value, (key, equals, _text) in zip(values, pairs, strict=True) if not key or not equals]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not KEY=VALUE, such as upsample=false")
    return {key.strip(): text.strip() for key, _equals, text in pairs}


_size_option = click.option(
    "--size", "size_hw", default="256x256", show_default=True, callback=parse_size, metavar="HxW",
    help="Input size that the multiply-accumulates are counted at.",
)  # fmt: skip
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


@click.group("seg-models", epilog=_EPILOG, context_settings=_SETTINGS)
def models_command() -> None:
    """List the networks that can be trained and exported, and show what is known about one.

    Nothing is downloaded and no weights are allocated.
    """


@models_command.command("list", cls=SegCommand, examples=("seg-models list", "seg-models list --size 512x1024 --json"))
@_size_option
@_json_option
def list_command(size_hw: tuple[int, int], as_json: bool) -> None:
    """Print one line for each network: parameters, work, strides and the targets it is proven on."""
    _require_torch()
    from seg_core.models.zoo import describe_models

    facts = describe_models(size_hw)
    if as_json:
        _print_json({"schema_version": 1, "models": [_as_json(entry) for entry in facts]})
        return
    rows = [("model", "params", f"GMACs at {size_hw[0]}×{size_hw[1]}", "stride", "multiple of", "proven on (fp32)")]
    rows += [
        (
            entry.name,
            f"{entry.parameters / 1e6:.2f} M",
            f"{entry.gmacs:.2f}",
            str(entry.output_stride),
            str(entry.size_divisor),
            " ".join(proof.target for proof in entry.proofs if proof.precision == "fp32") or "nothing yet",
        )
        for entry in facts
    ]
    _print_table(rows, right=(1, 2, 3, 4))
    click.echo(f"\n{_CONVENTION}\nMore about one: seg-models show {facts[0].name}")


@models_command.command(
    "show",
    cls=SegCommand,
    examples=(
        "seg-models show bisenet_v2 --size 512x1024",
        "seg-models show deeplabv3plus --option encoder=mobilenet_v2 --option output_stride=8",
    ),
)
@click.argument("name")
@_size_option
@click.option("--option", "options", multiple=True, callback=_parse_pairs, metavar="KEY=VALUE",
              help="Option of the network; repeatable.")  # fmt: skip
@click.option("--classes", type=click.IntRange(2, 255), default=19, show_default=True, help="Channels of the logits.")
@click.option("--channels", type=click.IntRange(1), default=3, show_default=True, help="Channels of the image.")
@_json_option
def show_command(
    name: str, size_hw: tuple[int, int], options: dict[str, str], classes: int, channels: int, as_json: bool
) -> None:
    """Print all that is known about the network NAME (or an alias of it), with options and size as given."""
    _require_torch()
    from seg_core.models.zoo import describe_model, parse_options
    from seg_core.spec import ModelSpec

    facts = describe_model(ModelSpec(name, classes, channels, parse_options(name, options)), size_hw)
    if as_json:
        _print_json({"schema_version": 1, **_as_json(facts)})
        return
    _print_facts(facts)


def _print_facts(facts: ModelFacts) -> None:
    training = (facts.training_parameters - facts.parameters) / 1e6
    lines = [
        ("model", facts.name + (f"  (also {', '.join(facts.aliases)})" if facts.aliases else "")),
        ("what", facts.summary),
        ("paper", facts.paper or "none named"),
        ("parameters", f"{facts.parameters / 1e6:.2f} M, and {training:.2f} M in heads for training alone"),
        ("work", f"{facts.gmacs:.2f} GMACs at {facts.size_hw[0]}×{facts.size_hw[1]} (H×W)"),
        ("input", f"{facts.in_channels} channels; height and width multiples of {facts.size_divisor}, "
                  f"from {facts.minimum_side}"),
        ("logits", f"{facts.num_classes} classes, at {_fraction(facts.output_stride)}"),
        ("heads", ", ".join(facts.heads)),
    ]  # fmt: skip
    for label, text in lines:
        click.echo(f"{label:<11} {text}")
    click.echo("\noptions" + ("" if facts.options else "     none"))
    if facts.options:
        _print_table([("  name", "type", "default", ""), *(_option_row(option, facts) for option in facts.options)])
    click.echo("\nproven" + ("" if facts.proofs else f"      {_why_unproven(facts)}"))
    _print_table([_proof_row(proof) for proof in facts.proofs])
    click.echo("\npublished weights" + ("" if facts.published else "  none known"))
    _print_table([(f"  {entry.file}", entry.trained_on, entry.origin) for entry in facts.published])
    click.echo(f"\n{_CONVENTION}")


def _fraction(stride: int) -> str:
    return "input size" if stride == 1 else f"1/{stride} of the input size"


def _option_row(option: ModelOption, facts: ModelFacts) -> tuple[str, ...]:
    given = f"given: {_show(facts.given[option.name])}" if option.name in facts.given else ""
    return (f"  {option.name}", option.type, _show(option.default), given)


def _why_unproven(facts: ModelFacts) -> str:
    if facts.given or facts.in_channels != 3:
        return "asked for with the default options only; seg-export proves each network that it exports"
    return "on no target yet; `make zoo` does it"


def _proof_row(proof: Proof) -> tuple[str, ...]:
    return (
        f"  {proof.target}",
        proof.precision,
        f"{proof.size_hw[0]}×{proof.size_hw[1]}",
        f"max-abs {proof.max_abs_relative:.1e} relative",
        f"labels {proof.label_agreement:.3%}",
        f"{proof.weights} weights",
        proof.converter,
        proof.date,
    )


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "(chosen by the network)"
    return str(value) if value != "" else '""'


def _print_table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def _as_json(facts: ModelFacts) -> dict[str, Any]:
    from seg_core.spec import to_json

    content: dict[str, Any] = to_json(facts)
    return content | {"gmacs": round(facts.gmacs, 4)}


def _print_json(content: dict[str, Any]) -> None:
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def _require_torch() -> None:
    from seg_core.runners.pytorch import require_torch

    require_torch("describing networks")
