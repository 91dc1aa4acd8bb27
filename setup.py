"""The long description: README without relative pictures and links, which PyPI cannot show."""

import re
from pathlib import Path

from setuptools import setup

PICTURE = re.compile(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n\n(\*[^*]+\*\n\n)?")  # with its caption
LINK = re.compile(r"\[([^]]*)\]\((?!https?:|#)[^)]*\)")

readme = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
setup(
    long_description=LINK.sub(r"\1", PICTURE.sub("", readme)),
    long_description_content_type="text/markdown",
)
