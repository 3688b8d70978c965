"""Options that several commands share; each is an environment variable too, for containers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ...bundle import DEFAULT
from ...input import READERS

Command = TypeVar("Command", bound=Callable[..., Any])

MODEL = "M3RT_MODEL"

_RUNTIME = (
    click.option(
        "--device",
        default="auto",
        envvar="M3RT_DEVICE",
        show_envvar=True,
        help="auto, cpu, cuda, or cuda:1 for the second card.",
    ),
    click.option(
        "--engine", default="auto", envvar="M3RT_ENGINE", show_envvar=True, help="auto, onnxruntime or openvino."
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        envvar="M3RT_THREADS",
        show_envvar=True,
        help="CPU threads; by default the CPUs that affinity and cgroup grant.",
    ),
    click.option(
        "--batch-tokens",
        type=click.IntRange(min=1),
        envvar="M3RT_BATCH_TOKENS",
        show_envvar=True,
        help="Padded tokens of a forward pass: more for a GPU, less for little memory.",
    ),
)


class FiniteRange(click.FloatRange):
    """A number in a range: click's own lets NaN pass, which no comparison refuses."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is no finite number.", param, ctx)
        return number


def runtime_options(command: Command) -> Command:
    """--device, --engine, --threads and --batch-tokens, with the names of M3Encoder's arguments."""
    for option in reversed(_RUNTIME):
        command = option(command)
    return command


def model_argument(command: Command) -> Command:
    """MODEL, by default $M3RT_MODEL."""
    return click.argument("model", envvar=MODEL, default=DEFAULT)(command)


def model_option(command: Command) -> Command:
    """-m, by default $M3RT_MODEL."""
    about = "The directory of a bundle; m3-tiny comes with m3rt."
    return click.option("-m", "--model", default=DEFAULT, envvar=MODEL, show_envvar=True, help=about)(command)


FORMAT = click.option("--input-format", type=click.Choice(list(READERS)), help="By default the file's suffix says.")
ID_FIELD = click.option("--id-field", help="The key or column that holds the id.  [default: _id, else id]")


def input_option(about: str, *, required: bool = False) -> Callable[[Command], Command]:
    """-i FILE, passed as `source`. Several are refused, where click alone would take the last one."""
    return click.option(
        "-i",
        "--input",
        "source",
        metavar="FILE",
        required=required,
        multiple=True,
        callback=_single,
        type=click.Path(exists=True, dir_okay=False, allow_dash=True),
        help=about,
    )


def only_with(needed: str, present: object, *names: str) -> None:
    """Refuse options of the running command that were given but do nothing without `needed`.

    names: of the parameters, as the command's function has them. What comes from the environment is not refused.
    """
    context = click.get_current_context()
    for option in () if present else context.command.params:
        if option.name in names and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option.opts[-1]} does nothing without {needed}; give both or neither.")


def _single(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> str | None:
    if len(values) > 1:
        raise click.UsageError(f"Expected one -i, got {len(values)}; join the files, as by cat A B, and read -i -.")
    return values[0] if values else None
