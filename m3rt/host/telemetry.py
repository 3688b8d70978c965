"""What dependencies would report or write unasked stays off, unless the user has said otherwise.

Nothing here is imported or set before a dependency is about to be imported: `import m3rt` changes no environment.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Read by onnxruntime (1.29 and later) and by huggingface_hub while they are imported.
_SWITCHES = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
_MISSING = object()
_importing = threading.RLock()  # the environment is the process's


@contextmanager
def silenced() -> Iterator[None]:
    """Import onnxruntime, openvino or huggingface_hub in this block: they then report nothing and write nothing.

    A switch that the environment sets, to whatever, is left alone, as is what the user answered OpenVINO's
    opt_in_out. Afterwards the environment is as it was: programs that this one starts decide for themselves.
    """
    with _importing:
        added = {name: value for name, value in _SWITCHES.items() if name not in os.environ}
        os.environ.update(added)
        # OpenVINO has no switch, but does without the package that reports, which it takes for not installed.
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
    """Whether the user has told OpenVINO, by its command opt_in_out, whether to report."""
    try:
        return (Path.home() / "intel" / "openvino_telemetry").is_file()
    except (OSError, RuntimeError):  # no home
        return False
