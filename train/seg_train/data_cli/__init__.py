"""`seg-data`: what is done to files before and after training. One module a tool."""

from __future__ import annotations

from seg_core.cli.command import click
from seg_train.data_cli.convert import convert_command
from seg_train.data_cli.rename import rename_command

_EPILOG = """\b
Examples:
  seg-data rename-checkpoint 79999_iter.pth face.pth --dry-run
  seg-data rename-checkpoint --help
"""


@click.group("seg-data", epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def data_command() -> None:
    """Prepare data and checkpoints."""


data_command.add_command(convert_command)
data_command.add_command(rename_command)
