"""For the reference: docstrings are plain text, so what Markdown would read as its own is quoted before it sees it."""

import re
from typing import Any

from griffe import Extension

_EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1(?:>>>|\.\.\.|(?! *$)).*)*", re.MULTILINE)
_SKIP = re.compile(r" +# doctest: \+SKIP")
_TAG = re.compile(r"</?[A-Za-z][^>\s]*>")


class PlainDocstrings(Extension):
    """Puts examples into code blocks, and tags such as <s> and names such as <unk> into code."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = plain(obj.docstring.value)


def plain(text: str) -> str:
    """The docstring as Markdown that shows its characters as they are."""
    done, end = [], 0
    for example in _EXAMPLE.finditer(text):
        code = _SKIP.sub("", example[0])
        done += [_TAG.sub(r"`\g<0>`", text[end : example.start()]), f"```pycon\n{code}\n```"]
        end = example.end()
    return "".join([*done, _TAG.sub(r"`\g<0>`", text[end:])])
