"""m3rt verify: is the bundle whole, and does it compute here what it computed where it was made?"""

from __future__ import annotations

import json
import math
from typing import Any

import click

from .console import bar, emit_text, say, size
from .options import model_argument, runtime_options


@click.command("verify")
@model_argument
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
@runtime_options
def command(model: str, as_json: bool, **runtime: Any) -> None:
    """Check a bundle's files, and that it computes here what it should.

    Every file's SHA-256 is compared with the manifest, then the golden texts are encoded and compared with
    what the export gave. Exit status 1: the files are right and the results are not.

    MODEL is a bundle's directory  [env var: M3RT_MODEL].
    """
    from ..bundle import check_hashes, open_bundle
    from ..encoder import M3Encoder
    from ..golden import check

    bundle = open_bundle(model)
    with bar(total=bundle.size(), desc="hashes", unit="B", unit_scale=True) as progress:
        check_hashes(bundle, progress.update)
    report = check(M3Encoder(model, **runtime), bundle)
    if as_json:
        # JSON has no infinity, which stands for outputs of different shapes.
        differences = {name: d if math.isfinite(d) else None for name, d in report.differences.items()}
        result = {"path": model, "files": len(bundle.manifest.files), "bytes": bundle.size(), "texts": report.texts}
        result |= {"differences": differences, "tolerance": report.tolerance, "passed": report.passed}
        emit_text(json.dumps(result, indent=2))
    else:
        emit_text(f"{len(bundle.manifest.files)} files, {size(bundle.size())}: hashes match")
        emit_text(f"{report.texts} golden texts, largest difference (tolerance {report.tolerance:g}):")
        for name, difference in report.differences.items():
            emit_text(f"  {name:<16}{difference:.2g}")
    if not report.passed:
        wrong = [name for name, d in report.differences.items() if not d <= report.tolerance]
        say(f"error: {', '.join(wrong)} differ from what {model} gave when it was exported; export it again here")
        raise click.exceptions.Exit(1)
