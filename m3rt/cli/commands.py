"""The commands by name, each a module that is imported only when it runs, and the exit status of each error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

import click

from ..errors import M3rtError
from ..text.rust import hush_panics
from ..version import __version__
from .parts.console import close_stdout, one_line_warning, open_missing_streams, say

_COMMANDS = {
    "plan": "Choose a model, precisions, views and machines for a corpus.",
    "export": "Turn a checkpoint into a bundle.",
    "encode": "Embed texts: arguments, files or stdin.",
    "rerank": "Order passages by their relevance to a query.",
    "info": "Show what a bundle holds.",
    "index": "Build an index of documents, change it, look at it.",
    "search": "Search an index.",
    "context": "Collect the best chunks for a question, ready for a prompt.",
    "load": "Load texts or an index into a database.",
    "serve": "Serve a bundle over HTTP.",
    "eval": "Measure how well a bundle retrieves, on labelled data sets.",
    "bench": "Measure latency, throughput, memory and cold start on this machine.",
    "tune": "Find the fastest settings for this machine and keep them.",
    "verify": "Check a bundle's files, and that it computes here what it should.",
}
_SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}


class _Commands(click.Group):
    """A group that knows its commands by name and imports the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = import_module(f".{name}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands, context_settings=_SETTINGS)
@click.version_option(__version__)
def _m3rt() -> None:
    """Export BGE-M3 once, run it anywhere: dense, sparse and ColBERT embeddings without PyTorch.

    Data goes to stdout, progress and errors to stderr. Exit status: 0 done, 1 a check failed, 2 an error,
    130 interrupted.
    """


def run(args: Sequence[str]) -> int:
    """Run `m3rt` with `args` and return the exit status."""
    open_missing_streams()
    hush_panics()
    with warnings.catch_warnings():
        warnings.showwarning = one_line_warning
        try:
            with _m3rt.make_context("m3rt", list(args or ["--help"])) as context:
                _m3rt.invoke(context)
        except click.exceptions.Exit as stop:
            return stop.exit_code
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "m3rt"
            say(f"error: {error.format_message()} See: {path} --help")
            return 2
        except M3rtError as error:
            say(f"error: {error}")
            return 2
        except RuntimeError as error:
            if not _is_setting(error):
                raise
            say(f"error: {error}")
            return 2
        except KeyboardInterrupt as stop:
            say(f"interrupted; {stop}" if stop.args else "interrupted")
            return 130
        except BrokenPipeError:
            # The reader of stdout has closed it: exit as if SIGPIPE had ended this process.
            close_stdout()
            return 141
        except OSError as error:  # the disk is full while click writes its help or version
            close_stdout()
            say(f"error: stdout cannot be written: {error.strerror or error}")
            return 2
    return 0


def _is_setting(error: RuntimeError) -> bool:
    """Whether this is the kernels' error for a bad M3RT_ISA; without kernels in memory it cannot be."""
    isa = sys.modules.get("m3rt_kernels.compiler.isa")
    return isa is not None and isinstance(error, isa.SettingError)
