"""`--help` at every level: complete, quick, and without torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from scenerep.registry import COMPRESSORS, FORMATS, METHODS, load

HEAVY = ["torch", "open3d", "pycolmap", "scipy", "av", "viser", "aiohttp", "gsplat", "trimesh", "imageio", "PIL"]

# Walks down the tree of commands, as `scenerep X --help` names them in its usage line.
_WALK = """
import contextlib, io, json, re, sys, time
from scenerep.cli.main import main

pages, todo = {}, [[]]
while todo:
    path = todo.pop()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            code = main([*path, "--help"])
        except SystemExit as exit:
            code = exit.code
    text = re.sub(r"\\x1b\\[[0-9;]*m", "", out.getvalue())
    pages[" ".join(path)] = [code or 0, text]
    usage = re.sub(r"\\s+", "", text.split("\\n\\n")[0])
    commands = re.fullmatch(r".*\\[-h\\]\\{([a-z0-9,-]+)\\}", usage)
    if commands:
        todo += [[*path, name] for name in commands[1].split(",")]
    if len(pages) == 1:
        first = time.process_time()
print(json.dumps({"pages": pages, "modules": sorted(sys.modules), "seconds": first}))
"""


@pytest.fixture(scope="module")
def walked() -> dict:
    done = subprocess.run([sys.executable, "-c", _WALK], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def test_every_command_has_help(walked: dict) -> None:
    pages = walked["pages"]
    expected = {
        "",
        "data",
        "train",
        "resume",
        "eval",
        "render",
        "export",
        "compress",
        "compare",
        "info",
        "view",
        "publish",
    }
    expected |= {f"compress {method}" for method in COMPRESSORS}
    expected |= {f"train {method}" for method in METHODS} | {
        "data photos",
        "data video",
        "data synthetic",
        "data check",
    }
    expected |= {f"image {command}" for command in ("encode", "decode", "info", "compare")}
    assert expected <= pages.keys()
    for path, (code, text) in pages.items():
        assert code == 0, path
        assert text.startswith(f"usage: scenerep {path}".rstrip()), path
        body = text.split("\n\n", 1)[1]
        assert re.match(r"[A-Z]\w+", body), f"scenerep {path} has no description"


def test_every_option_is_explained(walked: dict) -> None:
    """An option without a docstring shows nothing but its default, or nothing at all."""
    silent, options = [], 0
    for path, (_, text) in walked["pages"].items():
        plain = "\n".join(line.strip("│ ") for line in text.splitlines())
        for option, rest in re.findall(r"^(--[a-z][a-z0-9.-]*)(.*(?:\n(?!-|\n).+)*)", plain, re.MULTILINE):
            options += 1
            words = re.sub(r"\((default|required)[^)]*\)|\{[^}]*\}(\|[A-Z]+)?|\b[A-Z]{2,}\b|[{}|,]", " ", rest)
            if not re.search(r"[a-z]{4,}", words):
                silent.append(f"scenerep {path}: {option}")
    assert options > 50
    assert silent == []


def test_help_imports_nothing_heavy(walked: dict) -> None:
    assert [name for name in HEAVY if name in walked["modules"]] == []


def test_help_is_quick(walked: dict) -> None:
    # CPU time of the whole process up to the end of the first page; 0.3 s on a laptop, 10 times that is a bug.
    assert walked["seconds"] < 1.5


def test_train_has_the_options_that_the_readme_names(walked: dict) -> None:
    page = walked["pages"]["train splats"][1]
    for option in ("data", "minutes", "quality", "steps", "out", "viewer", "max-side", "overwrite", "json", "seed"):
        assert f"--{option} " in page


@pytest.mark.parametrize("name", METHODS)
def test_methods_exist(name: str) -> None:
    method = METHODS[name]
    assert isinstance(load(method.config)(), load(method.config))
    assert callable(load(method.train))


@pytest.mark.parametrize("name", FORMATS)
def test_formats_exist(name: str) -> None:
    entry = FORMATS[name]
    assert entry.endings and entry.help
    assert callable(entry.load_reader().read)
    assert entry.writer is None or callable(entry.load_writer().write)
