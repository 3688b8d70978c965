"""Where a checkpoint comes from: a local directory, or the Hugging Face Hub by id."""

import re
from dataclasses import dataclass
from pathlib import Path

from m3rt.errors import CheckpointError, InputError
from m3rt.host.extras import missing
from m3rt.host.telemetry import silenced

from . import layout
from .foreign import refuse_foreign

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")

# huggingface_hub's errors by class name, subclasses first; they moved between its versions.
_REASONS = {
    "GatedRepoError": "is gated, expected access: accept its terms on the Hub and set HF_TOKEN",
    "RevisionNotFoundError": "is no known revision, expected a branch, tag or commit: check --revision",
    "RepositoryNotFoundError": "is no directory and no public model of the Hub: check it, or set HF_TOKEN",
    "LocalEntryNotFoundError": "is not whole in the local cache and the Hub was not reached: "
    "connect and unset HF_HUB_OFFLINE, or give a checkpoint directory",
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on this machine.

    model_id: the Hub id, or the directory's name. revision: the Hub's commit hash, None for a directory.
    """

    path: Path
    model_id: str
    revision: str | None

    def __post_init__(self) -> None:
        refuse_foreign(self.path)


def resolve(source: str, *, revision: str | None = None, dense_only: bool = False) -> Checkpoint:
    """Find the checkpoint that the user named; fetch it from the Hub if it is not a local directory.

    Args:
        source: a local directory, else a Hub id "org/name".
        revision: a branch, tag or commit of the Hub; None is its main branch.
        dense_only: leave out the sparse and ColBERT heads.

    Returns:
        The checkpoint, its revision pinned to a commit hash. Only the files that an export reads are fetched, into
        the Hub's cache; a broken transfer goes on where it stopped. HF_ENDPOINT, HF_TOKEN, HF_HOME and
        HF_HUB_OFFLINE work as usual.

    Raises:
        CheckpointError: there is no such directory or model, or it cannot be fetched.
        InputError: a revision is given for a local directory.

    >>> resolve("BAAI/bge-m3", revision="5617a9f").model_id  # doctest: +SKIP
    'BAAI/bge-m3'
    """
    path = Path(source).expanduser()
    if path.is_dir():
        if revision is not None:
            raise InputError(f"{source} is a local directory, expected no revision; leave out {revision!r}")
        return Checkpoint(path, path.resolve().name, None)
    if path.exists():
        raise CheckpointError(f"{source} is a file, expected the directory of a checkpoint; give the one that holds it")
    if not _HUB_ID.fullmatch(source):
        raise CheckpointError(
            f"{source} is neither a directory nor a Hub id, expected one, such as BAAI/bge-m3; check the path"
        )
    folder = _fetch(source, revision, dense_only)
    return Checkpoint(folder, source, folder.name)


def _fetch(model_id: str, revision: str | None, dense_only: bool) -> Path:
    try:
        with silenced():
            from huggingface_hub import HfApi, constants, snapshot_download
    except ImportError as error:
        raise CheckpointError(
            missing(f"{model_id} is no local directory, and the Hub", "huggingface_hub", "export")
        ) from error
    try:
        if constants.HF_HUB_OFFLINE:
            return Path(snapshot_download(model_id, revision=revision, allow_patterns=[layout.CONFIG]))
        info = HfApi().model_info(model_id, revision=revision)
        available = [file.rfilename for file in info.siblings or ()]
        files = layout.needed_files(available, dense_only=dense_only)
        tokenizers = {layout.TOKENIZER, f"{layout.OLD_ENCODER_FOLDER}/{layout.TOKENIZER}"}
        if not {layout.ADAPTER, *tokenizers} & set(files):
            raise CheckpointError(
                f"{model_id} has no tokenizer.json, expected a fast tokenizer; make one with transformers: "
                "AutoTokenizer.from_pretrained(...).save_pretrained(...)"
            )
        # By name, not by hash, so that the cache can resolve the name offline later.
        folder = Path(snapshot_download(model_id, revision=revision, allow_patterns=files))
    except CheckpointError:
        raise
    except Exception as error:  # the transport's errors differ between versions of huggingface_hub
        raise CheckpointError(f"{model_id}{f' at {revision}' * bool(revision)} {_reason(error)}") from error
    if folder.name != info.sha:
        raise CheckpointError(f"{model_id} moved from {info.sha} to {folder.name} meanwhile: run again")
    return folder


def _reason(error: Exception) -> str:
    classes = [cls.__name__ for cls in type(error).__mro__]
    known = next((reason for name, reason in _REASONS.items() if name in classes), None)
    first_line = (str(error).splitlines() or [""])[0]
    return known or f"cannot be fetched ({classes[0]}: {first_line:.160}): run again, finished files are kept"
