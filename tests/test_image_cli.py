"""`scenerep image`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenerep.cli.main import main
from scenerep.codecs.pictures import read_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pictures"
    place.mkdir()
    y, x = np.mgrid[0:40, 0:56]
    grain = np.random.default_rng(3).integers(0, 20, (40, 56, 3))
    for k, name in enumerate(("a.png", "b.jpg", "c.webp")):
        pixels = (np.stack([x * 4, y * 5, x + y + 40 * k], axis=2) + grain).astype(np.uint8)
        Image.fromarray(pixels).save(place / name)
    (place / "notes.txt").write_text("no picture")
    return place


def test_one_picture(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small, back = tmp_path / "a.sri", tmp_path / "a.png"
    assert main(["image", "encode", str(folder / "a.png"), str(small), "--bpp", "4", "--preset", "fast", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["files"]
    assert row["bytes"] == small.stat().st_size
    assert abs(row["bpp"] - 4) <= 0.08
    assert main(["image", "info", str(small), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["width"], found["height"], found["codec"], found["complete"]) == (56, 40, "dct", True)
    assert main(["image", "decode", str(small), str(back)]) == 0
    error = read_picture(back).pixels.astype(float) - read_picture(folder / "a.png").pixels
    assert 10 * np.log10(255**2 / np.mean(error**2)) == pytest.approx(row["psnr"], abs=1e-6)
    capsys.readouterr()
    assert main(["image", "encode", str(folder / "a.png"), str(small)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_folders_and_patterns(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["image", "encode", str(folder), str(tmp_path / "small"), "--preset", "fast"]) == 0
    assert sorted(p.name for p in (tmp_path / "small").iterdir()) == ["a.sri", "b.sri", "c.sri"]
    assert main(["image", "decode", str(tmp_path / "small" / "[ab]*"), str(tmp_path / "back"), "--format", "webp"]) == 0
    assert sorted(p.name for p in (tmp_path / "back").iterdir()) == ["a.webp", "b.webp"]
    capsys.readouterr()
    assert main(["image", "encode", str(folder / "*.gif"), str(tmp_path / "none")]) == 1
    assert "no file to read" in capsys.readouterr().err


def test_previews_and_cut_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    small, out = tmp_path / "a.sri", tmp_path / "a.png"
    assert main(["image", "encode", str(folder / "a.png"), str(small), "--preset", "fast"]) == 0
    assert main(["image", "decode", str(small), str(out), "--preview", "2"]) == 0
    assert read_picture(out).pixels.shape == (10, 14, 3)
    small.write_bytes(small.read_bytes()[:-30])
    capsys.readouterr()
    assert main(["image", "decode", str(small), str(out), "--overwrite"]) == 1
    assert "--partial" in capsys.readouterr().err
    assert main(["image", "decode", str(small), str(out), "--overwrite", "--partial"]) == 0
    assert "cut off" in capsys.readouterr().err
    assert read_picture(out).pixels.shape == (40, 56, 3)


def test_compare(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    plot, page = tmp_path / "rd.png", tmp_path / "rd.html"
    arguments = ["image", "compare", str(folder), "--codecs", "dct,jpeg", "--preset", "fast", "--limit", "2"]
    assert main([*arguments, "--json", "--plot", str(plot), "--page", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 2
    assert set(found["curves"]) == {"dct", "jpeg"}
    assert all(row["bpp"] == 8 * row["bytes"] / (56 * 40) for row in found["rows"])
    gain = next(g for g in found["bd_rates"] if g["codec"] == "dct")
    assert gain["anchor"] == "jpeg"
    assert gain["bd_rate"] < -0.3
    assert read_picture(plot).pixels.shape[1] > 500
    assert "BD-rate" in page.read_text() and "<img" in page.read_text()
    assert main([*arguments]) == 0
    assert "BD-rate" in capsys.readouterr().out
    assert main(["image", "compare", str(folder), "--codecs", "gif"]) == 1
    assert "no codec 'gif'" in capsys.readouterr().err
