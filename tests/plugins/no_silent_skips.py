"""Fail the run when a test was skipped that should have run.

CI loads it with `PYTHONPATH=tests/plugins pytest -p no_silent_skips`: everything is installed there, so a
skip is a hole. The one reason that counts is another operating system or kind of user: the reason then
starts with "platform:", as in `pytest.skip("platform: needs macOS")`, and is still listed.
"""

import pytest

PLATFORM = "platform:"


def _reason(report):
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)


class SkipGuard:
    """Collect skips of tests and of whole modules; turn a green run with unwanted ones into a failed one."""

    def __init__(self):
        self.holes = []
        self.elsewhere = []

    def _note(self, report):
        if report.outcome != "skipped" or hasattr(report, "wasxfail"):
            return
        reason = _reason(report)
        found = self.elsewhere if reason.startswith(PLATFORM) else self.holes
        found.append(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report):
        self._note(report)

    def pytest_collectreport(self, report):
        self._note(report)

    def pytest_sessionfinish(self, session, exitstatus):
        if self.holes and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for line in self.elsewhere:
            terminalreporter.write_line(f"skipped here, runs elsewhere: {line}")
        for line in self.holes:
            terminalreporter.write_line(f"error: skipped, but should have run: {line}", red=True)


def pytest_configure(config):
    config.pluginmanager.register(SkipGuard(), "skip-guard")
