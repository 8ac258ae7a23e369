"""Where coreai-core has wheels: the one target that does not install everywhere (docs/adr/0006)."""

import platform
import sys

import pytest


def has_wheels() -> bool:
    """Whether pip finds Core AI's runtime for this system; asks the system, never what happens to be installed."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64" and int(platform.mac_ver()[0].partition(".")[0]) >= 26
    library, version = platform.libc_ver()
    is_linux = sys.platform == "linux" and platform.machine() == "x86_64" and library == "glibc"
    return is_linux and tuple(map(int, version.split(".")[:2])) >= (2, 34)


def skip_without_wheels(target: str = "coreai") -> None:
    """Skip a test of `target` on a system for which it cannot be installed."""
    if target == "coreai" and not has_wheels():
        pytest.skip("platform: Core AI's packages exist for Linux x86-64 (glibc 2.34) and macOS 26 on arm64")
