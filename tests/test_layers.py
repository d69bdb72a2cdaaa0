"""The layers of docs/architecture.md, checked on the syntax tree of every module; and a few habits we do without."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = {"cli": "scenerep.cli", "viewer": "scenerep.viewer", "data_tools": "scenerep.data_tools"}
LIBRARY = ["scenerep", *INSTALLED]
SILENT = ("scenerep", "data_tools")
EVERYTHING = [*LIBRARY, "tests", "benchmarks", "examples"]


def _files(folders: list[str]) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def _layers() -> list[list[str]]:
    """The brackets of the line in docs/architecture.md, lowest first."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("`(errors"))
    return [re.findall(r"\w+", bracket) for bracket in line.split("->")]


def _module(file: Path) -> str:
    """Dotted name under which a file is imported."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = (*INSTALLED.get(parts[0], parts[0]).split("."), *parts[1:])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _part(module: str) -> str:
    """`render` of scenerep.render.api; nothing of scenerep itself."""
    return module.partition(".")[2].partition(".")[0]


def _imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported anywhere in a module, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package)]
                base = ".".join([*parent, base]).rstrip(".")
            # `from scenerep import runs` imports scenerep.runs; the longer scenerep.runs.Run does no harm.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _violations(source: str, module: str, is_package: bool, rank: dict[str, int]) -> list[str]:
    faults = []
    own = _part(module)
    for line, name in _imports(ast.parse(source), module, is_package):
        parts = name.split(".")
        if parts[0] in INSTALLED:
            faults.append(f"{module}:{line}: write `scenerep.{parts[0]}`, never `{parts[0]}`")
        if parts[0] != "scenerep" or len(parts) < 2 or parts[1] == own or parts[1] == "__version__":
            continue
        if parts[1].startswith("_native"):
            continue  # the compiled module, loaded by native.py
        if parts[1] not in rank:
            faults.append(f"{module}:{line}: {name} is in no layer")
        elif own == "":
            faults.append(f"{module}:{line}: the package itself imports nothing ({name})")
        elif rank[parts[1]] >= rank[own]:
            faults.append(f"{module}:{line}: {own} must not import {parts[1]}")
    return faults


def _rank() -> dict[str, int]:
    return {name: level for level, names in enumerate(_layers()) for name in names}


def test_imports_point_one_way() -> None:
    rank = _rank()
    files = _files(LIBRARY)
    assert len(files) > 10
    names = {_part(_module(file)) for file in files} - {""}
    assert names <= rank.keys(), f"not in docs/architecture.md's layers: {sorted(names - rank.keys())}"
    faults = [
        fault
        for file in files
        for fault in _violations(file.read_text("utf-8"), _module(file), file.name == "__init__.py", rank)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("scenerep.runs", "def f():\n    from scenerep.cli import main", "runs must not import cli"),
        ("scenerep.events", "import scenerep.errors", "events must not import errors"),
        ("scenerep.render.api", "from ..splats.config import X", "render must not import splats"),
        ("scenerep.render.api", "from scenerep import splats", "render must not import splats"),
        ("scenerep.cli.main", "import viewer.server", "never `viewer`"),
        ("scenerep.cli.main", "from scenerep.nowhere import x", "is in no layer"),
    ],
)
def test_the_check_sees(module: str, source: str, fault: str) -> None:
    assert fault in "\n".join(_violations(source, module, False, _rank()))


def test_the_check_allows() -> None:
    for module, source in [
        ("scenerep.render.api", "from .types import Rasterized\nfrom scenerep.errors import SceneRepError"),
        ("scenerep.cli.train", "from scenerep.cli.common import main\nimport numpy\nfrom scenerep import __version__"),
    ]:
        assert _violations(source, module, False, _rank()) == []


def _habits(tree: ast.AST, library: bool) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "bare except"
        elif isinstance(node, ast.Attribute) and node.attr == "path" and getattr(node.value, "id", "") == "sys":
            yield node.lineno, "sys.path is left alone"
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield node.lineno, "import *"
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and any(
            name.split(".")[0] in ("pickle", *INSTALLED)
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."])
            if not getattr(node, "level", 0)
        ):
            yield node.lineno, "imports pickle, or a folder by its bare name"
        elif isinstance(node, ast.Call):
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            if isinstance(keywords.get("shell"), ast.Constant) and keywords["shell"].value:  # type: ignore[union-attr]
                yield node.lineno, "shell=True"
            called = ast.unparse(node.func)
            if called == "torch.load" and "weights_only" not in keywords:
                yield node.lineno, "torch.load without weights_only"
            if library and called == "print":
                yield node.lineno, "library code prints nothing"


def test_habits() -> None:
    faults = [
        f"{file.relative_to(ROOT)}:{line}: {fault}"
        for file in _files(EVERYTHING)
        for line, fault in _habits(ast.parse(file.read_text("utf-8")), file.relative_to(ROOT).parts[0] in SILENT)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    pass\nexcept:\n    pass",
        "import sys\nsys.path.insert(0, '.')",
        "from numpy import *",
        "import viewer",
        "from cli.main import main",
        "import pickle",
        "run('ls', shell=True)",
        "torch.load(x)",
        "print(1)",
    ],
)
def test_habits_are_seen(source: str) -> None:
    assert list(_habits(ast.parse(source), library=True))
