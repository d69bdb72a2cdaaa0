from __future__ import annotations

import numpy as np

from scenerep.captures import Capture
from scenerep.geometry.cameras import Camera
from scenerep.geometry.rays import camera_rays, ray_lengths
from scenerep.voxel_training.batches import RaySource

WHITE = np.ones(3, np.float32)


def _source(capture: Capture, background: np.ndarray | None = WHITE, pool: int = 1 << 30) -> RaySource:
    return RaySource(capture, background, np.random.default_rng(1), pool)


def test_rays_go_through_the_pixels_that_they_are_compared_with(photographed: Capture) -> None:
    batch = _source(photographed).draw(200)
    for origin, direction, target in zip(batch.origins, batch.directions, batch.targets, strict=True):
        view = next(i for i in photographed.train if np.allclose(photographed.camera(i).centre, origin, atol=1e-6))
        camera = photographed.camera(view)
        u, v, _ = camera.project((origin + direction)[None].astype(np.float64))[0]
        assert abs(u % 1 - 0.5) < 1e-3
        assert abs(v % 1 - 0.5) < 1e-3
        pixel = photographed.image(view)[int(v), int(u)].astype(np.float32) / 255
        np.testing.assert_allclose(target, pixel[:3] * pixel[3] + (1 - pixel[3]), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(batch.directions, axis=1), 1, atol=1e-6)


def test_batches_depend_on_the_generator_alone(photographed: Capture) -> None:
    a, b = _source(photographed), _source(photographed)
    for _ in range(3):
        np.testing.assert_array_equal(a.draw(50).directions, b.draw(50).directions)


def test_a_background_drawn_anew_is_under_the_transparent_pixels(photographed: Capture) -> None:
    batch = _source(photographed, None).draw(400)
    assert batch.background.std() > 0.2
    clear = np.abs(batch.targets - batch.background).max(axis=1) < 1e-6
    assert 0.2 < clear.mean() < 1


def test_a_pool_too_small_for_all_pictures_changes(photographed: Capture) -> None:
    picture = photographed.camera(0).width * photographed.camera(0).height * 4
    source = _source(photographed, pool=3 * picture)
    seen: set[tuple[float, ...]] = set()
    first = {tuple(o) for o in source.draw(300).origins.tolist()}
    assert len(first) == 3
    for _ in range(5000):
        seen |= {tuple(o) for o in source.draw(8).origins.tolist()}
    assert len(seen) == len(photographed.train)


def test_masked_pixels_are_not_drawn(photographed: Capture, monkeypatch) -> None:
    mask = np.zeros((photographed.camera(0).height, photographed.camera(0).width), bool)
    mask[:, :10] = True
    monkeypatch.setattr(photographed, "mask", lambda i: mask)
    batch = _source(photographed).draw(300)
    for origin, direction in zip(batch.origins, batch.directions, strict=True):
        view = next(i for i in photographed.train if np.allclose(photographed.camera(i).centre, origin, atol=1e-6))
        assert photographed.camera(view).project((origin + direction)[None].astype(np.float64))[0, 0] < 10


def test_camera_rays_are_what_project_undoes() -> None:
    camera = Camera(40.0, 42.0, 15.5, 11.0, 32, 24)
    origins, directions = camera_rays(camera)
    back = camera.project((origins + 3 * directions).astype(np.float64))
    columns, rows = np.meshgrid(np.arange(32) + 0.5, np.arange(24) + 0.5)
    np.testing.assert_allclose(back[:, 0], columns.reshape(-1), atol=1e-4)
    np.testing.assert_allclose(back[:, 1], rows.reshape(-1), atol=1e-4)
    np.testing.assert_allclose(ray_lengths(camera).reshape(-1), 1 / directions[:, 2], rtol=1e-6)
