"""Evaluation against photographs that are renders of the scene itself, or differ from them by a known amount."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rendered_capture import photograph_scene, ring, small_scene

from scenerep.captures import Capture
from scenerep.errors import ConfigError, DataError
from scenerep.evaluation import colour_depth, contact_sheet, evaluate, flatten, heat, pick_views, to_uint8
from scenerep.evaluation.measure import photograph
from scenerep.evaluation.pictures import depth_range
from scenerep.geometry.quaternions import rotation_from_axis_angle
from scenerep.scenes import Gaussians

# Rounding to 8 bits has the mean square error 1/12 of a step: 10 log10(12 * 255^2) dB.
ROUNDING_DB = 58.9


@pytest.fixture(scope="module")
def scene() -> Gaussians:
    return small_scene()


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory, scene: Gaussians) -> Capture:
    return photograph_scene(tmp_path_factory.mktemp("a") / "capture", scene, ring(8))


@pytest.fixture(scope="module")
def cut_out(tmp_path_factory: pytest.TempPathFactory, scene: Gaussians) -> Capture:
    return photograph_scene(tmp_path_factory.mktemp("b") / "capture", scene, ring(8), alpha=True)


def test_the_true_scene_is_perfect_up_to_rounding(capture: Capture, scene: Gaussians) -> None:
    seen: list[tuple[str, int, int]] = []
    result = evaluate(scene, capture, progress=lambda *args: seen.append(args))
    assert [view.index for view in result.views] == capture.test == [0, 4]
    assert result.psnr > ROUNDING_DB - 0.5
    assert result.ssim > 0.999
    assert result.psnr_masked is None
    assert result.ms_ssim is None  # 48 x 32 is too small for five scales
    assert result.count == len(scene)
    assert seen == [("evaluating", 1, 2), ("evaluating", 2, 2)]
    assert result.psnr == pytest.approx(np.mean([view.psnr for view in result.views]))


def test_a_known_error_gives_the_known_psnr(capture: Capture) -> None:
    nothing = small_scene(0)
    truth = [capture.image(i) / 255.0 for i in (1, 2)]
    result = evaluate(nothing, capture, views=[1, 2])
    for view, picture in zip(result.views, truth):
        assert view.psnr == pytest.approx(-10 * np.log10(np.mean(picture**2)), abs=1e-3)
    on_white = evaluate(nothing, capture, views=[1], background=(1, 1, 1))
    assert on_white.psnr == pytest.approx(-10 * np.log10(np.mean((1 - truth[0]) ** 2)), abs=1e-3)


def test_alpha_is_composited_on_white_and_measured_inside_too(cut_out: Capture, scene: Gaussians) -> None:
    truth, valid, inside, background = photograph(cut_out, 0)
    assert background == (1, 1, 1)
    assert valid is None
    alpha = cut_out.image(0)[..., 3]
    np.testing.assert_array_equal(truth[alpha == 0], 1.0)
    assert inside is not None and (inside == (alpha >= 127.5)).all()
    result = evaluate(scene, cut_out)
    assert result.background == (1, 1, 1)
    assert result.psnr > 45  # colour and alpha are both rounded
    assert result.psnr_masked is not None and result.psnr_masked > 45
    # A scene of the wrong colour inside: the empty corners flatter the whole picture, not the inside.
    wrong = evaluate(replace(scene, sh=scene.sh + np.float32(0.5)), cut_out)
    assert wrong.psnr_masked is not None and wrong.psnr_masked < wrong.psnr - 1
    assert evaluate(scene, cut_out, background=(0, 0, 0)).psnr > 45


def test_a_mask_file_adds_numbers_over_its_pixels(tmp_path: Path, capture: Capture, scene: Gaussians) -> None:
    width, height = 48, 32
    mask = np.zeros((height, width), np.uint8)
    mask[:, : width // 2] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    masked = capture.with_views([replace(view, mask=tmp_path / "mask.png") for view in capture.views])
    photo = capture.image(0).copy()
    photo[:, width // 2 :] = 255 - photo[:, width // 2 :]  # spoiled where nobody looks
    Image.fromarray(photo).save(tmp_path / "photo.png")
    spoiled = masked.with_views([replace(view, image=tmp_path / "photo.png") for view in masked.views[:1]])
    result = evaluate(scene, spoiled, views=[0])
    assert result.psnr < 20
    assert result.psnr_masked is not None and result.psnr_masked > ROUNDING_DB - 1
    assert result.ssim_masked is not None and result.ssim_masked > result.ssim


def test_views_are_checked(capture: Capture, scene: Gaussians) -> None:
    with pytest.raises(ConfigError, match="view 8"):
        evaluate(scene, capture, views=[8])
    every = capture.with_views([replace(view, split="train") for view in capture.views])
    with pytest.raises(DataError, match="no held-out views"):
        evaluate(scene, every)


def test_contact_sheet_shows_photograph_render_and_error(capture: Capture, scene: Gaussians) -> None:
    result = evaluate(scene, capture, views=list(range(8)))
    chosen = pick_views(result)
    assert len(chosen) == 6
    assert [view.psnr for view in chosen] == sorted(view.psnr for view in chosen)
    assert chosen[0].psnr == min(view.psnr for view in result.views)
    sheet = contact_sheet(scene, capture, result)
    # Each row: photograph and render are 48 x 32 pixels, shown 8 times as large; they agree, so the error is black.
    factor = 400 // 48
    rows = 0
    for y in range(sheet.shape[0] - 32 * factor):
        left = sheet[y : y + 32 * factor : factor, 8 : 8 + 48 * factor : factor]
        rows += any(np.array_equal(left, capture.image(view.index)) for view in chosen)
    assert rows == 6 * factor  # any of the repeated lines may start the match
    black = (sheet.max(axis=2) < 30).sum()
    assert black > 6 * 48 * 32 * factor**2 * 0.9


def test_contact_sheet_of_a_bad_scene_is_bright_where_it_is_wrong(capture: Capture) -> None:
    nothing = small_scene(0)
    good = contact_sheet(small_scene(), capture, evaluate(small_scene(), capture))
    bad = contact_sheet(nothing, capture, evaluate(nothing, capture))
    third = bad.shape[1] * 2 // 3
    assert bad[:, third + 20 :].mean() > good[:, third + 20 :].mean() + 5


def test_flatten_composites_straight_alpha() -> None:
    picture = np.array([[[255, 0, 0, 0], [0, 255, 0, 255], [0, 0, 255, 51]]], np.uint8)
    np.testing.assert_allclose(
        flatten(picture, (1.0, 0.5, 0.0))[0], [[1, 0.5, 0], [0, 1, 0], [0.8, 0.4, 0.2]], atol=1e-6
    )
    np.testing.assert_allclose(flatten(picture[..., :3], (1, 1, 1)), picture[..., :3] / 255.0, atol=1e-7)


def test_colours_of_depth_and_heat() -> None:
    assert heat(np.array([-1.0, 0.0])).max() == 0
    brightness = heat(np.linspace(0, 1, 50)).astype(int).sum(axis=-1)
    assert (np.diff(brightness) >= 0).all() and brightness[-1] > 700
    depth = np.array([[0.0, 1.0, 2.0, 10.0, 50.0]])
    alpha = np.array([[0.0, 1.0, 1.0, 1.0, 1.0]])
    near, far = depth_range(depth, alpha)
    assert 1 <= near < far <= 50
    shown = colour_depth(depth, alpha, 1.0, 50.0).astype(int).sum(axis=-1)[0]
    assert shown[0] == 0
    assert (np.diff(shown[1:]) < 0).all()
    assert shown[-1] > 0
    assert depth_range(np.zeros((2, 2)), np.zeros((2, 2))) == (1.0, 2.0)
    assert to_uint8(np.array([-0.1, 0.5, 1.2])).tolist() == [0, 128, 255]


def test_fitting_takes_out_the_pictures_own_pose_and_colours(
    scene: Gaussians, capture: Capture, rng: np.random.Generator
) -> None:
    """A view a pixel beside where it is said to be, and darker: plain PSNR suffers, the fitted does not."""
    view = capture.test[0]
    said = capture.views[view].camera
    push = np.eye(4)
    push[:3, :3] = rotation_from_axis_angle(rng.normal(size=3) / said.fx)
    push[:3, 3] = rng.normal(size=3) * 0.01
    wrong = replace(capture.views[view], camera=replace(said, world_from_camera=said.world_from_camera @ push))
    views = tuple(wrong if i == view else v for i, v in enumerate(capture.views))
    moved = Capture(capture.root, capture.source, views, None)
    darker = replace(scene, sh=np.concatenate([scene.sh[:, :1] - 0.2, scene.sh[:, 1:]], axis=1))
    result = evaluate(darker, moved, views=[view], basic=True, fit=True)
    assert result.psnr_fitted is not None
    assert result.psnr_fitted > result.psnr + 8
    assert evaluate(scene, moved, views=[view], basic=True).psnr_fitted is None


def test_fitting_cannot_hide_a_missing_scene(capture: Capture) -> None:
    result = evaluate(small_scene(0), capture, fit=True, basic=True)
    flat = [np.asarray(capture.image(i) / 255.0) for i in capture.test]
    # The best that one colour can do is the mean colour.
    best = np.mean([-10 * np.log10(np.mean((f - f.mean(axis=(0, 1))) ** 2)) for f in flat])
    assert result.psnr_fitted is not None
    assert result.psnr_fitted == pytest.approx(best, abs=0.1)
