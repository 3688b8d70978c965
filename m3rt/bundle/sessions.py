"""The options with which each engine opens a graph: one table, for the runtime and for manifests.

Programs in other languages read the options from a manifest. This runtime does not: a manifest from a stranger must not
set options here.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..host.cpu import has_vnni
from .fields import WITHOUT_VNNI, GraphName, Precision, Session, Target
from .manifest import Manifest

# On a CPU the operators that these passes make are slower than their parts (benchmarks/LOG.md).
_SLOWER_FUSIONS = ("SkipLayerNormFusion", "BiasSkipLayerNormFusion", "BiasGeluFusion")
# Each version is the oldest that ran golden texts and padded batches right. Older onnxruntimes load the graphs, but up
# to 1.20 padding changes a text's result without a word, and up to 1.29 the exact path aborts the process.
_TABLE: dict[tuple[Target, Precision], Session] = {
    # The exporter writes fused graphs; the extended passes would only undo that.
    ("onnxruntime", "fp32"): Session("1.22", "basic", _SLOWER_FUSIONS, {}),
    ("onnxruntime", "int8"): Session("1.30", "basic", _SLOWER_FUSIONS, {}),
    ("onnxruntime", "int4"): Session("1.30", "basic", _SLOWER_FUSIONS, {}),
    # An optimized session would hold every weight a second time, as float32.
    ("onnxruntime", "fp16"): Session("1.30", "disabled", _SLOWER_FUSIONS, {"session.disable_prepacking": "1"}),
    # The graph is fused as far as its operators go. Its version is that of the definitions it was checked with.
    ("onnxruntime_cuda", "fp16"): Session("1.31", "basic", (), {}),
    ("openvino", "fp32"): Session("2026.4", "all", (), {"INFERENCE_PRECISION_HINT": "f32"}),
    ("openvino", "int8"): Session("2026.4", "all", (), {"INFERENCE_PRECISION_HINT": "f32"}),
}
# For weights of older exports, whose products saturate in 16 bits without VNNI: an extended pass turns them to u8.
_EXACT = Session("1.30", "extended", _SLOWER_FUSIONS, {"session.x64quantprecision": "1"})


def sessions(graphs: Iterable[GraphName], precision: Precision) -> dict[Target, Session]:
    """Return the sessions that a bundle's manifest names."""
    names = tuple(graphs)
    return {target: s for (target, kind), s in _TABLE.items() if kind == precision and target.startswith(names)}


def session_of(target: Target, manifest: Manifest) -> Session:
    """How an engine opens the graph of a bundle on this machine."""
    return _EXACT if target == "onnxruntime" and saturates(manifest) else _TABLE[target, manifest.precision]


def saturates(manifest: Manifest) -> bool:
    """Whether int8 products of a bundle's weights may saturate here: older exports did not bound them.

    Their manifests name a session for CPUs without VNNI, or no session at all.
    """
    old = not manifest.sessions or WITHOUT_VNNI in manifest.sessions
    return manifest.precision == "int8" and old and not has_vnni()
