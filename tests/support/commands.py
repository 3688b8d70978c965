"""Runs of the command line that fail."""

import re

import pytest

from m3rt.cli import main

Captured = pytest.CaptureFixture[str]


def error_of(capsys: Captured, *args: object, status: int = 2) -> str:
    """The one line on stderr of a command that fails."""
    assert main([*map(str, args)]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"m3rt: error: [^\n]+\n", err), err
    return err
