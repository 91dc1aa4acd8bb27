"""Model and data repositories on a Hugging Face hub, through ``huggingface_hub``.

Its environment variables hold: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

from worldmodel.checkpoint import CheckpointError

PREFIX = "hf://"
NAME = r"[\w.-]+/[\w.-]+"
FILES = ("*.safetensors", "*.json", "*.md", "*.pt")  # what weights consist of


def parse(source: str) -> tuple[str, str | None]:
    """``hf://owner/name[@revision]`` -> owner/name and the revision."""
    found = re.fullmatch(rf"hf://({NAME})(?:@([\w./-]+))?", source)
    if found is None:
        raise CheckpointError(
            f"'{source}' is not a repository; expected hf://owner/name or "
            "hf://owner/name@revision"
        )
    return found[1], found[2]


@cache  # one run, one revision
def download(source: str) -> Path:
    """The folder in the hub's cache with the files of ``hf://owner/name[@revision]``, fetched
    unless they are there.

    Raises CheckpointError where there is no such repository or revision, no access, or no
    connection and no copy in the cache.
    """
    repository, revision = parse(source)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
    except Exception as error:
        raise CheckpointError(f"cannot get {source}: {_first_line(error)}") from error


def upload(
    repository: str, kind: Literal["model", "dataset"], folder: str | Path, card: str,
    patterns: list[str] | None = None, private: bool = False, tag: str = "",
) -> str:
    """Send the files of ``folder`` that match ``patterns`` (None: all), but no hidden ones, and
    ``card`` as README.md to ``owner/name``, which is made if there is none; returns its address.
    ``tag``: name of the commit that holds them, taken from an earlier one.

    Raises CheckpointError where the hub refuses or cannot be reached.
    """
    if re.fullmatch(NAME, repository) is None:
        raise CheckpointError(f"'{repository}' is not a repository; expected owner/name")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        api = HfApi()
        made = api.create_repo(repository, repo_type=kind, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=repository, repo_type=kind, folder_path=folder, allow_patterns=patterns,
            ignore_patterns=[".*", "README.md"], commit_message="worldmodel push",
        )
        api.upload_file(
            repo_id=repository, repo_type=kind, path_or_fileobj=card.encode(),
            path_in_repo="README.md", commit_message="Card",
        )
        if tag:
            with suppress(RevisionNotFoundError):
                api.delete_tag(repository, tag=tag, repo_type=kind)
            api.create_tag(repository, tag=tag, repo_type=kind)
    except Exception as error:
        raise CheckpointError(
            f"cannot push to {repository}: {_first_line(error)} (log in with `hf auth login`, or "
            "set HF_TOKEN to a token that may write)"
        ) from error
    return str(made)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
