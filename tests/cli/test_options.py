"""Options of the command line that contradict each other, do nothing, or would cost the user a file."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from commands import Captured, error_of

# The option that does nothing comes last, with its value; what it needs stands beside the command.
USELESS: Sequence[tuple[str, Sequence[str]]] = (
    ("--colbert", ["encode", "a", "--colbert-precision", "int8"]),
    ("--dense-precision int8 or uint8", ["encode", "a", "--dense-ranges", "ranges.npy"]),
    ("--chunk-tokens", ["index", "build", "an-index", "-i", os.devnull, "--chunk-overlap", "9"]),
    ("--rerank", ["eval", "m3-tiny", "a-data-set", "--rerank-candidates", "9"]),
    ("--data", ["verify", "--max-queries", "9"]),
    ("--data", ["verify", "--split", "dev"]),
    ("--against", ["verify", "--limit", "overlap=1"]),
    ("--server", ["bench", "--clients", "9"]),
    ("--server", ["bench", "--rate", "9"]),
    ("--server", ["bench", "--output", "out.svg"]),
    ("--rerank", ["search", "an-index", "a", "--rerank-candidates", "9"]),
    ("--mode hybrid", ["search", "an-index", "a", "--mode", "dense", "--weights", "1,1,1"]),
)


@pytest.mark.parametrize(("needed", "args"), USELESS)
def test_an_option_that_does_nothing_is_refused(needed: str, args: list[str], capsys: Captured) -> None:
    assert f"{args[-2]} does nothing without {needed}" in error_of(capsys, *args)


def test_a_flag_that_does_nothing_is_refused(capsys: Captured) -> None:
    assert "--rrf does nothing without --mode hybrid" in error_of(
        capsys, "search", "i", "a", "--mode", "dense", "--rrf"
    )


def test_a_prompt_is_the_query_s_or_the_passage_s(capsys: Captured) -> None:
    assert "--query or --passage, not both" in error_of(capsys, "encode", "a", "--query", "--passage")


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_the_output_never_replaces_the_input(link: object, tmp_path: Path, capsys: Captured) -> None:
    text = '{"text": "kept"}\n'
    source = out = tmp_path / "in.jsonl"
    source.write_text(text)
    if callable(link):
        link(source, out := tmp_path / "out.jsonl")
    assert "is the input" in error_of(capsys, "encode", "-i", source, "-o", out, "--force")
    assert source.read_text() == out.read_text() == text


@pytest.mark.parametrize(
    "args",
    [
        ["bench", "--server", "http://127.0.0.1:1", "--seconds"],
        ["bench", "--server", "http://127.0.0.1:1", "--rate"],
        ["serve", "--timeout"],
        ["serve", "--max-wait"],
    ],
)
@pytest.mark.parametrize("value", ["nan", "inf", "1e300"])
def test_a_number_that_is_none_is_in_no_range(args: list[str], value: str, capsys: Captured) -> None:
    assert f"Invalid value for '{args[-1]}'" in error_of(capsys, *args, value)


def test_a_group_without_its_command_is_one_line(capsys: Captured) -> None:
    assert "Missing command. See: m3rt index --help" in error_of(capsys, "index")
