"""Turns a checkpoint into an m3rt bundle."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exporter import export

__all__ = ["export"]


def __getattr__(name: str) -> object:
    if name != "export":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .exporter import export

    return export
