"""`seg-data`: what is done to files before and after training. One module a tool."""

from __future__ import annotations

from seg_core.cli.command import click
from seg_train.data_cli.average import average_command
from seg_train.data_cli.check import check_command
from seg_train.data_cli.convert import convert_command
from seg_train.data_cli.crop_by_mask import crop_by_mask_command
from seg_train.data_cli.measure_speed import measure_speed_command
from seg_train.data_cli.preprocess import preprocess_command
from seg_train.data_cli.rehearse import rehearse_command
from seg_train.data_cli.rename import rename_command
from seg_train.data_cli.runs import runs_command

_EPILOG = """\b
Examples:
  seg-data preprocess CelebAMask-HQ faces --size 512 --split 0.9,0.1
  seg-data check faces/train --labels celebamask_hq
  seg-data rename-checkpoint 79999_iter.pth face.pth --dry-run
  seg-data rename-checkpoint --help
"""


@click.group("seg-data", epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def data_command() -> None:
    """Prepare data and checkpoints."""


data_command.add_command(average_command)
data_command.add_command(check_command)
data_command.add_command(convert_command)
data_command.add_command(crop_by_mask_command)
data_command.add_command(measure_speed_command)
data_command.add_command(preprocess_command)
data_command.add_command(rename_command)
data_command.add_command(rehearse_command)
data_command.add_command(runs_command)
