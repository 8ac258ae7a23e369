"""The option by which commands change keys of a configuration."""

from __future__ import annotations

from seg_core.cli.command import click

#: Adds `-o KEY=VALUE`, repeatable, as `overrides`.
override_option = click.option(
    "-o",
    "--override",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key, such as solver.lr=1e-3; repeatable.",
)
