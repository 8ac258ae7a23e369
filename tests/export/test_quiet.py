"""Chatter is caught at the file descriptors, and everything is as before afterwards."""

import logging
import os
import sys
import warnings

import pytest

from seg_export.quiet import capture_output


def test_python_and_native_output_is_caught(capfd):
    with capture_output() as captured:
        sys.stdout.write("from python\n")
        os.write(2, b"from native code\n")
        warnings.warn("a warning", stacklevel=1)
        logging.getLogger("converter").warning("a record")
    sys.stdout.write("afterwards\n")
    out, err = capfd.readouterr()
    assert (out, err) == ("afterwards\n", "")
    assert "from python" in captured.text
    assert "from native code" in captured.text
    assert "a warning" not in captured.text


def test_everything_passes_when_it_is_off(capfd):
    with capture_output(enabled=False):
        os.write(1, b"seen\n")
    assert capfd.readouterr().out == "seen\n"


def test_state_is_restored_after_an_error(capfd):
    level = logging.root.manager.disable
    with pytest.raises(ZeroDivisionError), capture_output():
        _ = 1 / 0
    os.write(1, b"visible\n")
    sys.stdout.flush()
    assert capfd.readouterr().out == "visible\n"
    assert logging.root.manager.disable == level
