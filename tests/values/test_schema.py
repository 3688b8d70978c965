"""JSON becomes the dataclass that its annotations describe, or a line that names the key that is wrong."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3rt.values.schema import build, conforms, parsed


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    kind: Literal["oak", "pine"]
    leaf: Leaf
    others: Mapping[str, Leaf] = field(default_factory=dict)
    rows: tuple[Leaf, ...] = ()
    note: Mapping[str, Any] | None = None
    height: int | None = None


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
leaves = st.builds(Leaf, names, st.lists(st.integers(0, 2**63 - 1), max_size=3).map(tuple))
trees = st.builds(
    Tree,
    st.sampled_from(["oak", "pine"]),
    leaves,
    st.dictionaries(names, leaves, max_size=2),
    st.lists(leaves, max_size=2).map(tuple),
    st.none() | st.dictionaries(names, st.integers() | names, max_size=2),
    st.none() | st.integers(0, 2**63 - 1),
)


@given(trees)
def test_what_json_holds_becomes_the_same_dataclass_again(tree: Tree) -> None:
    again = build(Tree, parsed(json.dumps(asdict(tree))))
    assert again == tree
    assert conforms(again, Tree)


@pytest.mark.parametrize(("change", "words"), [
    ({"colour": 1}, "it has unknown keys: colour"),
    ({"leaf": {}}, "leaf has no name"),
    ({"leaf": {"name": "x", "wind": 1}}, "leaf has unknown keys: wind"),
    ({"leaf": [1]}, r"leaf is \[1\], expected an object"),
    ({"others": {"a": {"name": "x", "sizes": 3}}}, "sizes is 3, expected a list"),
    ({"rows": [{"name": "x"}, "y"]}, r"rows\[1\] is 'y', expected an object"),
    ({"note": "text"}, "note is 'text', expected an object"),
])  # fmt: skip
def test_a_shape_that_is_none_names_the_key(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(Tree, {"kind": "oak", "leaf": {"name": "x"}, **change})


@pytest.mark.parametrize("change", [{"kind": "fir"}, {"height": -1}, {"height": True}, {"leaf": {"name": 1}}])
def test_a_value_of_another_type_is_built_and_does_not_conform(change: dict[str, Any]) -> None:
    assert not conforms(build(Tree, {"kind": "oak", "leaf": {"name": "x"}, **change}), Tree)
