"""The page's own tests and types, under Node."""

import re
import subprocess

import pytest
from browser_material import find_program

from seg_demo.site import WEB_DIRECTORY

pytestmark = pytest.mark.browser


def test_node_tests_pass():
    found = sorted((WEB_DIRECTORY / "test").glob("*.test.mjs"))
    command = [find_program("node"), "--test", "--test-reporter=tap", *map(str, found)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"^# pass (\d+)$", done.stdout, re.MULTILINE).group(1)) > 40
    assert re.search(r"^# skipped 0$", done.stdout, re.MULTILINE)


def test_types_are_right():
    compiler = WEB_DIRECTORY / "node_modules" / "typescript" / "bin" / "tsc"
    if not compiler.is_file():
        pytest.skip(f"needs  npm ci --prefix {WEB_DIRECTORY}")
    command = [find_program("node"), str(compiler), "--project", str(WEB_DIRECTORY)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
