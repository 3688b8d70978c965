"""How much a test that draws or repeats does: little in every run, and M3RT_TEST_SCALE times as much in a long one."""

import os


def scaled(count: int) -> int:
    return count * int(os.environ.get("M3RT_TEST_SCALE", "1"))
