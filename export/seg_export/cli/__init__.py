"""The commands of the export room; every heavy package is imported only once work starts."""

from seg_export.cli.export import export_command
from seg_export.cli.parity import parity_command
from seg_export.cli.report import report_command

__all__ = ["export_command", "parity_command", "report_command"]
