from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from scenerep.errors import DataError
from scenerep.field_shapes import shape_within
from scenerep.implicit.extract import field_mesh, sample_surface, zero_level
from scenerep.implicit.networks import new_field
from scenerep.implicit.subjects import open_subject
from scenerep.implicit.surface import SurfaceSubject, agreement
from scenerep.meshes.config import MeshConfig
from scenerep.scenes import SURFACE, NeuralField

UNIT = np.array([[-1.0, -1, -1], [1, 1, 1]])


def _ball(radius: float):
    return lambda x: (np.linalg.norm(x, axis=1) - radius).astype(np.float32)


@pytest.mark.parametrize("box", [UNIT, np.array([[-1.0, -0.7, -0.8], [1, 0.65, 0.9]])])
def test_the_zero_level_of_a_ball(box: np.ndarray) -> None:
    vertices, faces = zero_level(_ball(0.6), box, 64)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    assert mesh.euler_number == 2
    # Outward: the volume is positive, and about that of the ball.
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.01)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.6, atol=2e-3)


def test_nothing_where_the_sign_never_changes() -> None:
    assert len(zero_level(_ball(5.0), UNIT, 32)[1]) == 0
    assert len(zero_level(lambda x: np.ones(len(x), np.float32), UNIT, 32)[1]) == 0


def test_samples_are_even() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [3, 0, 5], [0, 3, 5]])
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    points = sample_surface(vertices, faces, 20_000, np.random.default_rng(0))
    assert (points[:, 2] > 4).mean() == pytest.approx(0.9, abs=0.01)
    low = points[points[:, 2] < 1, :2]
    np.testing.assert_allclose(low.mean(axis=0), 1 / 3, atol=0.02)
    assert (low.sum(axis=1) <= 1 + 1e-6).all()


def test_agreement() -> None:
    vertices, faces = zero_level(_ball(0.6), UNIT, 64)
    truth = sample_surface(vertices, faces, 100_000, np.random.default_rng(7))
    f_score, distance = agreement(truth, vertices, faces)
    assert f_score > 0.99
    assert distance < 0.005
    assert agreement(truth, vertices * 1.1, faces)[0] == 0.0
    assert agreement(truth, np.zeros((0, 3)), np.zeros((0, 3), int)) == (0.0, 2.0)
    both = np.concatenate([vertices, vertices * 0.3])
    twice = np.concatenate([faces, faces + len(vertices)])
    assert 0.9 < agreement(truth, both, twice)[0] < 0.97  # all is found, a twelfth of what is found is wrong


def test_distances_of_the_pool(mesh_file: Path) -> None:
    subject = open_subject(mesh_file, None, "white")
    assert isinstance(subject, SurfaceSubject)
    assert subject.warnings == []
    subject.prepare(0)
    places, targets = subject.draw(np.random.default_rng(0), 5000)
    half = (subject.box[1] - subject.box[0]).max() / 2
    world = places * half + subject.box.mean(axis=0) - [10, -3, 1]
    true = (np.hypot(np.hypot(world[:, 0], world[:, 1]) - 2.0, world[:, 2]) - 0.7) / half
    np.testing.assert_allclose(targets[:, 0], true, atol=0.01)
    assert (np.abs(places) <= 1).all()
    assert (targets < 0).mean() > 0.2


def test_meshes_that_cannot_be_learned(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one place"):
        SurfaceSubject(trimesh.Trimesh(np.zeros((3, 3)), [[0, 1, 2]], process=False))
    with pytest.raises(DataError, match="is a folder"):
        open_subject(tmp_path, None, "white")
    with pytest.raises(DataError, match="no such file"):
        open_subject(tmp_path / "x.png", None, "white")
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="picture"):
        open_subject(tmp_path / "x.png", None, "white")
    open_box = trimesh.creation.box()
    open_box.faces = open_box.faces[1:]
    assert "watertight" in SurfaceSubject(open_box).warnings[0]


def test_a_network_without_surface() -> None:
    shape = shape_within("siren", 3, 1, 1000)
    weights = {name: np.zeros(size, np.float32) for name, size in shape.arrays().items()}
    weights["b3"] += 1
    with pytest.raises(DataError, match="no surface"):
        field_mesh(NeuralField(shape, weights, SURFACE, UNIT), MeshConfig(resolution=16))
    assert new_field(shape, 0).shape.outputs == 1
