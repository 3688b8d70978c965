"""Counts and sizes of an index, and the check of its files against their hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...host.files import sha256
from .arrays import Damage, check_size, opening
from .directory import SEGMENTS
from .manifest import SegmentRecord
from .signs import is_signed
from .snapshot import Snapshot


def info(path: Path, snapshot: Snapshot) -> dict[str, Any]:
    """Counts, sizes, settings and model, as plain values."""
    m = snapshot.manifest
    return {
        "path": str(path),
        "documents": sum(segment.documents for segment in m.segments),
        "rows": sum(segment.rows - segment.deleted for segment in m.segments),
        "deleted_rows": sum(segment.deleted for segment in m.segments),
        "segments": len(m.segments),
        "signed_rows": sum(segment.rows - segment.deleted for segment in m.segments if is_signed(segment)),
        "damaged": dict(snapshot.damaged),
        "size": sum(segment.size for segment in m.segments),
        "commit": m.commit,
        "settings": asdict(m.settings),
        "model": asdict(m.model) if m.model else None,
        "note": m.note,
        "format_version": m.format_version,
        "m3rt_version": m.m3rt_version,
    }


def segment_faults(
    path: Path, segment: SegmentRecord, progress: Callable[[int], object] = lambda n: None
) -> Iterator[str]:
    """A line for each file of a segment that differs from its record.

    Raises HybridIndexError for a file that cannot be read just now.
    """
    for name, record in segment.files.items():
        file = path / SEGMENTS / segment.name / name
        try:
            with opening(file):
                check_size(file, record)
                digest = sha256(file, progress)
        except Damage as damage:
            yield str(damage)
            continue
        if digest != record.sha256:
            yield f"{file} has SHA-256 {digest}, expected {record.sha256}"
