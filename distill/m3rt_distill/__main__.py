"""python -m m3rt_distill: train a student, or fit heads to an encoder that has none."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch

from m3rt.errors import M3rtError

from .pipeline import Pipeline
from .recipe import Recipe

_folder = click.Path(file_okay=False, path_type=Path)
_existing = click.Path(exists=True, path_type=Path)


@click.group(help=__doc__)
def main() -> None: ...


@main.command("train")
@click.argument("recipe", type=_existing)
@click.option("--data", type=_existing, required=True, help="Directory that holds the recipe's data sets.")
@click.option("--teacher", type=_existing, required=True, help="The teacher's bundle, made by m3rt export.")
@click.option("--out", type=_folder, required=True, help="Everything goes here; the same again resumes.")
@click.option("--device", default="cpu", show_default=True, help="Where PyTorch trains, such as cuda.")
@click.option("--engine", default="auto", show_default=True, help="What runs the teacher.")
@click.option("--threads", type=int, help="CPU threads.  [default: all]")
@click.option("--heads-only", type=_existing, help="Fit sparse and ColBERT heads to this XLM-R checkpoint, frozen.")
def train_command(
    recipe: Path, data: Path, teacher: Path, out: Path, device: str, engine: str, threads: int | None,
    heads_only: Path | None,
) -> None:  # fmt: skip
    """Train a student as RECIPE says, in two stages; OUT/student is a checkpoint for m3rt export."""
    if threads:
        torch.set_num_threads(threads)
    click.echo(Pipeline(Recipe.read(recipe), data, teacher, out, device, engine, threads, heads_only).run())


if __name__ == "__main__":
    try:
        main()
    except M3rtError as error:
        click.echo(f"m3rt_distill: {error}", err=True)
        sys.exit(2)
