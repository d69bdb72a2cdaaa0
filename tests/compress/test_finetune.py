"""The loop that compressors share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rendered_capture import ring, small_scene

from scenerep.compress.finetune import NAMES, FineTuning, Position, TorchTrainable
from scenerep.compress.views import Views, cameras_around
from scenerep.errors import DataError
from scenerep.metrics.reference import l1_ssim_reference
from scenerep.render import rasterize
from scenerep.scenes import Gaussians
from scenerep.splats.differentiate import Gradients


@pytest.fixture(scope="module")
def scene() -> Gaussians:
    return small_scene(30)


@pytest.fixture(scope="module")
def views(scene: Gaussians) -> Views:
    return Views.of_renders(scene, ring(5))


def disturbed(scene: Gaussians) -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    return [
        torch.tensor(a + rng.normal(0, 0.05, a.shape).astype(np.float32), requires_grad=True)
        for a in scene.arrays().values()
    ]


class _Keep:
    """Draws given arrays and remembers the gradients."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays, self.found = arrays, {}

    def draw(self) -> dict[str, np.ndarray]:
        return self.arrays

    def update(self, gradients: Gradients, step: int, progress: float) -> None:
        seen = gradients.visible != 0
        self.found = {name: np.where(_wide(seen, g), g, 0) for name, g in gradients.arrays.items()}


def _wide(seen: np.ndarray, like: np.ndarray) -> np.ndarray:
    return seen.reshape(-1, *[1] * (like.ndim - 1))


def test_gradients_are_those_of_the_reference(scene: Gaussians, views: Views) -> None:
    tensors = disturbed(scene)
    kept = _Keep({name: t.detach().numpy() for name, t in zip(NAMES, tensors)})
    one = Views([views.target(2)], [0], (0.0, 0.0, 0.0), False)
    (event,) = FineTuning(one, False, 60, steps=1).run(kept)
    truth = torch.from_numpy(one.target(0).rgb) / 255
    out = rasterize(*tensors, one.target(0).camera, backend="reference")  # type: ignore[arg-type]
    loss, _, _ = l1_ssim_reference(out.rgb, truth, None, 0.2)
    loss.backward()
    assert event.loss == pytest.approx(float(loss.detach()), rel=1e-4)
    for name, tensor in zip(NAMES, tensors):
        assert tensor.grad is not None
        expected = tensor.grad.numpy()
        np.testing.assert_allclose(kept.found[name], expected, atol=2e-3 * np.abs(expected).max(), err_msg=name)


def test_torch_trainable_learns_and_adds_its_own_terms(scene: Gaussians, views: Views) -> None:
    tensors = disturbed(scene)
    weight = torch.zeros((), requires_grad=True)
    told = []
    trainable = TorchTrainable(
        lambda: (tensors, 0.1 * (weight - 3) ** 2),
        [torch.optim.Adam(tensors, 5e-3), torch.optim.Adam([weight], 0.1)],
        lambda step, progress: told.append((step, progress)),
    )
    losses = [event.loss for event in FineTuning(views, False, 60, steps=60).run(trainable)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
    assert weight.item() > 2
    assert told[0] == (1, 0.0)
    assert len(told) == 60


def test_unseen_gaussians_get_no_gradient(scene: Gaussians, views: Views) -> None:
    """What lies in their rows is of an earlier picture."""
    tensors = disturbed(scene)
    with torch.no_grad():
        tensors[0][3] = torch.tensor([0.0, 0.0, 1e4])
    trainable = TorchTrainable(lambda: (tensors, None), [torch.optim.SGD(tensors, 1.0)])
    before = tensors[4][3].clone()
    for _ in FineTuning(views, False, 60, steps=7).run(trainable):
        pass
    torch.testing.assert_close(tensors[4][3], before)


def test_goes_on_where_it_was(scene: Gaussians, views: Views) -> None:
    def losses(position: Position | None, until: float, tensors: list[torch.Tensor]) -> tuple[list[float], Position]:
        tuning = FineTuning(views, False, 60, steps=12, seed=3, position=position)
        trainable = TorchTrainable(lambda: (tensors, None), [torch.optim.SGD(tensors, 1e-3)])
        return [event.loss for event in tuning.run(trainable, until)], tuning.at

    whole, _ = losses(None, 1.0, disturbed(scene))
    tensors = disturbed(scene)
    first, at = losses(None, 0.5, tensors)
    second, _ = losses(Position(**vars(at)), 1.0, tensors)
    assert first + second == whole


def test_not_a_number_is_reported(scene: Gaussians, views: Views) -> None:
    tuning = FineTuning(views, False, 60, steps=1)
    found = Gradients(float("nan"), {}, np.zeros(0, np.uint8), None, None)
    tuning.differentiate = lambda *_: found  # type: ignore[assignment]
    with pytest.raises(DataError, match="the loss is nan"):
        list(tuning.run(_Keep(scene.arrays())))


def test_views_need_pictures() -> None:
    with pytest.raises(DataError, match="no pictures"):
        Views([], [], (0, 0, 0), False)


def test_cameras_around_see_every_side() -> None:
    scene = small_scene(200)
    cameras = cameras_around(scene)
    middle = np.median(scene.means, axis=0)
    directions = np.stack([camera.centre - middle for camera in cameras])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sides = np.random.default_rng(0).normal(size=(500, 3))
    sides /= np.linalg.norm(sides, axis=1, keepdims=True)
    assert (sides @ directions.T).max(axis=1).min() > np.cos(np.radians(30))
    for camera in cameras:
        u, v, z = camera.project(middle[None])[0]
        assert z > 0
        np.testing.assert_allclose([u, v], [320, 240], atol=1e-6)
