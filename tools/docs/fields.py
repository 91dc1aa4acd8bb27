"""An extension of griffe: the comments beside a settings class's fields, in its page of the API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parents[2]))
from configs.describe import comments


class CommentedFields(griffe.Extension):
    """Adds what is said beside the fields to the docstring of their class."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called with every class once its members are known."""
        if not isinstance(cls.filepath, Path):
            return
        told = {
            field: text.replace("|", "\\|")
            for (name, field), text in comments(cls.filepath).items()
            if name == cls.name and field in cls.members
        }
        if not told:
            return
        rows = [f"| `{field}` | {text} |" for field, text in told.items()]
        before = cls.docstring.value if cls.docstring else ""
        table = ["", "| field | meaning |", "| --- | --- |", *rows]
        cls.docstring = griffe.Docstring("\n".join([before, *table]).strip(), parent=cls)
