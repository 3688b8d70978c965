"""Packages that not every machine can install."""

from importlib.util import find_spec

import pytest

needs_eval = pytest.mark.skipif(
    find_spec("ir_measures") is None, reason="needs the extra 'eval', whose trec_eval has no wheels for ARM on Linux"
)
