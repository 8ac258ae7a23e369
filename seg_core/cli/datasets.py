"""The options by which commands are told about a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seg_core.cli.command import click

#: The names in `sample_layouts.LayoutName`, here without what it imports.
LAYOUTS = ("auto", "folders", "celebamask_hq", "camvid", "cityscapes", "list")


def layout_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --layout."""
    option = click.option(
        "--layout", type=click.Choice(LAYOUTS), default="auto", show_default=True, help="How pairs lie in the data set."
    )
    return option(command)


def split_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --split."""
    return click.option("--split", metavar="NAME", help="Part of a data set that has splits: train, val or test.")(
        command
    )


def labels_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --labels, whose help says what the `default` is."""
    return click.option(
        "--labels", metavar="NAME", help=f"Label set of the masks, or a JSON file with one.  [default: {default}]"
    )
