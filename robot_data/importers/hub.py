"""Recordings in a data set repository of a Hugging Face hub, through ``huggingface_hub``.

Its environment variables hold: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import re
from pathlib import Path

from robot_data.schema import DataError

PREFIX = "hf://"
FORM = r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?(?:/(.+))?"


def fetch(source: str) -> Path:
    """The files of ``hf://datasets/owner/name[@revision][/path]`` in the hub's cache, fetched
    unless they are there; with a path, what lies at it and under it.

    Raises ``DataError`` where there is no such repository, revision or path, no access, or no
    connection and no copy in the cache.
    """
    found = re.fullmatch(FORM, source.rstrip("/"))
    if found is None:
        raise DataError(
            f"'{source}' is no data set; expected hf://datasets/owner/name, with @revision or a "
            "path in it behind"
        )
    repository, revision, inner = found.groups()
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(
            repository, repo_type="dataset", revision=revision,
            allow_patterns=[inner, f"{inner}/*"] if inner else None,
        ))
    except Exception as error:  # of many types: no repository, no access, no connection
        first = next((line for line in str(error).splitlines() if line.strip()), "")
        raise DataError(f"cannot get {source}: {type(error).__name__}: {first.strip()}") from error
    if inner and not (folder / inner).exists():
        raise DataError(f"{source.removesuffix(inner)} has no {inner}")
    return folder / inner if inner else folder
