"""A hook of mkdocs: the pages that are written from the code.

``api/``: a page for every module.  ``settings.md``: every setting of every command.
``examples/``: a page for every example.  ``model-card.md``: the one beside the shipped weights.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGES = [
    "arm_worldmodel", "worldmodel", "planners", "sims", "robots", "robot_data", "configs",
    "benchmarks",
]
ELSEWHERE = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
SUMMARY = re.compile(r"(.+?)(?:\.\s|\.$|:$|$)", re.S)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation: examples below tutorials, the API last."""
    nav: list[Any] = config.nav or []
    titles = [next(iter(entry)) for entry in nav]
    nav.append({"API": ["api/index.md", *_api_nav()]})
    examples = [f"examples/{path.stem}.md" for path in _examples()]
    if examples:
        at = titles.index("Tutorials")
        nav[at] = {"Tutorials": ["tutorials.md", *examples]}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {"api/index.md": _api_index(), "settings.md": _settings()}
    pages["model-card.md"] = (ROOT / "worldmodel/weights/README.md").read_text()
    for package in PACKAGES:
        for module in _modules(package):
            pages[_page(module)] = f"::: {module}\n"
    for path in _examples():
        pages[f"examples/{path.stem}.md"] = _example(path)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that loads something from another host; raises ``PluginError``."""
    for page in Path(config.site_dir).rglob("*.html"):
        found = [tag for tag in ELSEWHERE.findall(page.read_text()) if 'rel="canonical"' not in tag]
        if found:
            raise PluginError(f"{page.name} loads from another host: {found[0]}")


def _modules(package: str) -> list[str]:
    """Dotted names of a package's modules, the package first."""
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        if parts[-1] == "__main__":
            continue
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return sorted(found)


def _page(module: str) -> str:
    return f"api/{module}.md"


def _api_nav() -> list[dict[str, Any]]:
    return [
        {package: [{module.removeprefix(f"{package}."): _page(module)}
                   for module in _modules(package)]}
        for package in PACKAGES
    ]


def _doc(module: str) -> str:
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def _summary(text: str) -> str:
    found = SUMMARY.match(text.split("\n\n")[0])
    return " ".join(found.group(1).split()) if found else ""


def _api_index() -> str:
    lines = ["# API", "", "Every module, from its own docstrings. Shapes are in brackets; "
             "quantities are in metres, radians and seconds unless a name says otherwise.", ""]
    for package in PACKAGES:
        lines += [f"## {package}", "", _doc(package), ""]
        lines += ["| module | what it is |", "| --- | --- |"]
        lines += [
            f"| [`{module}`]({module}.md) | {_summary(_doc(module))} |"
            for module in _modules(package) if module != package
        ]
        lines.append("")
    return "\n".join(lines)


def _settings() -> str:
    sys.path.insert(0, str(ROOT))
    from arm_worldmodel.help import settings_page

    return settings_page()


def _examples() -> list[Path]:
    return sorted((ROOT / "examples").glob("[0-9]*.py"))


def _example(path: Path) -> str:
    """The docstring as text, the rest as code."""
    source = path.read_text()
    tree = ast.parse(source)
    text = ast.get_docstring(tree) or ""
    first, _, rest = text.partition("\n\n")
    title, *more = re.split(r"(?<=\?)\s+|[.:]\s+|\.$", " ".join(first.split()), maxsplit=1)
    more = "".join(more)
    rest = f"{more[:1].upper()}{more[1:]}\n\n{rest}"
    body = source.splitlines()[tree.body[0].end_lineno :] if text else source.splitlines()
    code = "\n".join(body).strip()
    return (
        f"# {title}\n\n{rest.strip()}\n\n"
        f"```python title=\"examples/{path.name}\"\n{code}\n```\n"
    )
