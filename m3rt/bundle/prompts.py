"""Prompts: what a bundle's model wants in front of a text, by the role that the text has in a search."""

from __future__ import annotations

from collections.abc import Mapping


def prompted(prompts: Mapping[str, str], role: str, texts: list[str]) -> list[str]:
    """Texts with the prompt of their role, query or passage, in front of each.

    An item that is no str keeps its place, so that encode() can name its index.
    """
    prompt = prompts.get(role, "")
    return [prompt + text if isinstance(text, str) else text for text in texts]
