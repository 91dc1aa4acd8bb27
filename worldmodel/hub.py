"""Model and data repositories on a Hugging Face hub, through ``huggingface_hub``.

Its environment variables hold: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import re
from pathlib import Path

from worldmodel.checkpoint import CheckpointError

PREFIX = "hf://"
FILES = ("*.safetensors", "*.json", "*.md", "*.pt")  # what weights consist of


def parse(source: str) -> tuple[str, str | None]:
    """``hf://owner/name[@revision]`` -> owner/name and the revision."""
    found = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", source)
    if found is None:
        raise CheckpointError(
            f"'{source}' is not a repository; expected hf://owner/name or "
            "hf://owner/name@revision"
        )
    return found[1], found[2]


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


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
