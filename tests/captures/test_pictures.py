"""Awkward pictures: every mode, orientation and kind of damage that folders of photographs have."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from scenerep.captures import load_picture, picture_size
from scenerep.captures.pictures import load_depth, load_mask
from scenerep.errors import DataError

H, W = 40, 60


@pytest.fixture
def photo(rng) -> np.ndarray:
    """Smooth colours, so that JPEG keeps them within a few levels."""
    y, x = np.mgrid[0:H, 0:W]
    return np.stack([x * 4, y * 6, 255 - x * 2 - y], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 98}])
def test_jpeg(tmp_path, photo, options):
    Image.fromarray(photo).save(tmp_path / "a.jpg", **options)
    loaded = load_picture(tmp_path / "a.jpg", (W, H))
    assert loaded.shape == (H, W, 3) and loaded.dtype == np.uint8
    assert np.abs(loaded.astype(int) - photo).mean() < 4


# What brings the stored pixels upright, for each EXIF orientation
TURNS = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation(tmp_path, photo, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo).save(tmp_path / "a.png", exif=exif)
    upright = TURNS[orientation](photo)
    assert picture_size(tmp_path / "a.png") == upright.shape[1::-1]
    loaded = load_picture(tmp_path / "a.png", upright.shape[1::-1])
    assert np.array_equal(loaded, upright)


def test_camera_of_the_unrotated_picture_gets_the_pixels_as_stored(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(load_picture(tmp_path / "a.png", (W, H)), photo)


@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_sixteen_bits_become_eight(tmp_path, byte_order):
    values = np.linspace(0, 65535, H * W).reshape(H, W).astype("<u2")
    suffix = ".png" if byte_order == "<u2" else ".tif"
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    loaded = load_picture(tmp_path / f"a{suffix}")
    assert loaded.shape == (H, W, 3)
    assert np.array_equal(loaded[..., 0], np.round(values / 257).astype(np.uint8))


def test_grey_palette_and_bilevel_become_rgb(tmp_path, photo):
    grey = Image.fromarray(photo).convert("L")
    grey.save(tmp_path / "grey.jpg")
    Image.fromarray(photo).quantize(64).save(tmp_path / "palette.png")
    grey.convert("1").save(tmp_path / "bilevel.png")
    for name in ("grey.jpg", "palette.png", "bilevel.png"):
        assert load_picture(tmp_path / name).shape == (H, W, 3)
    assert np.array_equal(np.unique(load_picture(tmp_path / "bilevel.png")), [0, 255])


def test_cmyk_becomes_rgb(tmp_path, photo):
    Image.fromarray(photo).convert("CMYK").save(tmp_path / "a.jpg", quality=98, subsampling=0)
    loaded = load_picture(tmp_path / "a.jpg")
    assert loaded.shape == (H, W, 3)
    assert np.abs(loaded.astype(int) - photo).mean() < 4


def test_alpha_is_kept(tmp_path, photo):
    alpha = np.tile(np.arange(W, dtype=np.uint8) * 4, (H, 1))
    Image.fromarray(np.dstack([photo, alpha])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([photo[..., 0], alpha])).save(tmp_path / "la.png")
    Image.fromarray(photo).save(tmp_path / "key.png", transparency=tuple(int(v) for v in photo[3, 5]))
    assert np.array_equal(load_picture(tmp_path / "rgba.png"), np.dstack([photo, alpha]))
    assert np.array_equal(load_picture(tmp_path / "la.png")[..., 3], alpha)
    assert load_picture(tmp_path / "key.png")[3, 5, 3] == 0


def damaged(kind: str, photo: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG" if "png" in kind else "JPEG")
    data = buffer.getvalue()
    return {
        "empty": b"",
        "text": b"this is not a picture, it only has the name of one",
        "truncated jpeg": data[: len(data) // 2],
        "truncated png": data[: len(data) // 2],
        "jpeg header only": data[:30],
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "text", "truncated jpeg", "truncated png", "jpeg header only"])
def test_damaged_pictures_are_named(tmp_path, photo, kind):
    path = tmp_path / "holiday 07.jpg"
    path.write_bytes(damaged(kind, photo))
    with pytest.raises(DataError) as caught:
        load_picture(path)
    assert "holiday 07.jpg" in caught.value.message and caught.value.hint


def test_missing_picture_and_wrong_size_are_named(tmp_path, photo):
    with pytest.raises(DataError, match=r"gone\.jpg.*missing"):
        load_picture(tmp_path / "gone.jpg")
    Image.fromarray(photo).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: the picture is 60x40, but its camera states 61x40"):
        load_picture(tmp_path / "a.png", (W + 1, H))


def test_masks(tmp_path):
    use = np.zeros((H, W), dtype=bool)
    use[10:30, 20:50] = True
    Image.fromarray(use.astype(np.uint8) * 255).save(tmp_path / "white.png")
    Image.fromarray(use.astype(np.uint8)).save(tmp_path / "ones.png")
    Image.fromarray(use.astype(np.uint8) * 255).save(tmp_path / "lossy.jpg")
    Image.fromarray(np.dstack([np.zeros((H, W, 3), np.uint8), use.astype(np.uint8) * 255])).save(tmp_path / "alpha.png")
    for name in ("white.png", "ones.png", "lossy.jpg", "alpha.png"):
        assert np.array_equal(load_mask(tmp_path / name, (W, H)), use), name
    half = load_mask(tmp_path / "white.png", (W // 2, H // 2))
    assert np.array_equal(half, use[::2, ::2])
    Image.fromarray(np.zeros((H, W), np.uint8)).save(tmp_path / "black.png")
    assert not load_mask(tmp_path / "black.png", (W, H)).any()


def test_depth(tmp_path):
    stored = np.arange(H * W, dtype=np.uint16).reshape(H, W)
    Image.fromarray(stored).save(tmp_path / "d.png")
    depth = load_depth(tmp_path / "d.png", 0.001)
    assert depth.dtype == np.float32 and np.allclose(depth, stored * 0.001)
    values = np.array([[1.5, np.nan], [-1.0, np.inf]], dtype=np.float32)
    np.save(tmp_path / "d.npy", values)
    assert np.array_equal(load_depth(tmp_path / "d.npy", 2.0), [[3.0, 0.0], [0.0, 0.0]])
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY but cut off")
    with pytest.raises(DataError, match=r"bad\.npy"):
        load_depth(tmp_path / "bad.npy", 1.0)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match="one number a pixel"):
        load_depth(tmp_path / "rgb.png", 1.0)
