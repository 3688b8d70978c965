"""Turns off the telemetry of dependencies, unless the user has chosen otherwise.

The environment changes only while a dependency is imported: `import m3rt` changes nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# onnxruntime (1.29 and later) and huggingface_hub read these while they are imported.
_SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
_MISSING = object()
_importing = threading.RLock()  # all threads share one environment


@contextmanager
def silenced() -> Iterator[None]:
    """Import onnxruntime, openvino or huggingface_hub in this block, so that they report and write nothing.

    A switch that the environment already sets is left alone, and so is the user's answer to OpenVINO's opt_in_out.
    Afterwards the environment is as before: programs that this one starts decide for themselves.
    """
    with _importing:
        added = {name: value for name, value in _SWITCHES.items() if name not in os.environ}
        os.environ.update(added)
        # OpenVINO has no switch, but runs without its reporting package: pretend that it is not installed.
        reporter = sys.modules.get("openvino_telemetry", _MISSING)
        if blocked := not _openvino_answered():
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        try:
            yield
        finally:
            for name in added:
                os.environ.pop(name, None)
            if blocked:
                del sys.modules["openvino_telemetry"]
                if reporter is not _MISSING:
                    sys.modules["openvino_telemetry"] = reporter  # type: ignore[assignment]


def _openvino_answered() -> bool:
    """Whether the user has answered OpenVINO's command opt_in_out."""
    try:
        return (Path.home() / "intel" / "openvino_telemetry").is_file()
    except (OSError, RuntimeError):  # no home
        return False
