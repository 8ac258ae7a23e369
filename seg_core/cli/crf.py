"""`--crf` of the command line: on, off, or settings of the CRF that a contract then has."""

from __future__ import annotations

import dataclasses
from typing import Literal

from seg_core.cli.command import click
from seg_core.errors import SpecError
from seg_core.spec import CrfSpec, from_json

#: "on", "off", or a CrfSpec's fields by name.
CrfChoice = Literal["on", "off"] | dict[str, float]

CRF_HELP = (
    "Refine label edges with a dense CRF: on (as the model's contract says, or with the defaults), off, or settings "
    "such as iterations=3,scale=2.  [default: as the contract says]"
)


def parse_crf(_context: click.Context, _option: click.Parameter, value: str | None) -> CrfChoice | None:
    """Return what `--crf` asks for, None when it was not given; raises click.BadParameter naming the setting."""
    if value is None:
        return None
    if value in ("on", "off"):
        return "on" if value == "on" else "off"
    settings: dict[str, float] = {}
    for part in value.split(","):
        name, _, number = part.partition("=")
        try:
            settings[name.strip()] = int(number) if number.strip().lstrip("-").isdigit() else float(number)
        except ValueError:
            raise click.BadParameter(
                f"{part.strip()!r}: expected on, off or name=number,… of {', '.join(_names())}"
            ) from None
    try:
        choose_crf(settings, None)
    except SpecError as error:
        raise click.BadParameter(str(error)) from None
    return settings


def choose_crf(choice: CrfChoice | None, contract: CrfSpec | None) -> CrfSpec | None:
    """Return the CRF to run: `choice` applied to that of the contract; raises SpecError naming a wrong setting."""
    if choice is None:
        return contract
    if choice == "off":
        return None
    start = contract or CrfSpec()
    if choice == "on":
        return start
    return from_json(CrfSpec, {**dataclasses.asdict(start), **choice}, "crf")


def _names() -> list[str]:
    return [field.name for field in dataclasses.fields(CrfSpec)]
