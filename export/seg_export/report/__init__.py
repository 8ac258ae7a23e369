"""One self-contained page about a directory of artifacts, made from the files in it alone."""

from seg_export.report.collect import LatencyFigure, ReportData, ReportRow, collect_report
from seg_export.report.page import build_page, save_report

__all__ = ["LatencyFigure", "ReportData", "ReportRow", "build_page", "collect_report", "save_report"]
