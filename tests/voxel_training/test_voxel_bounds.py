from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from rendered_capture import ring, small_scene

from scenerep.captures import Capture, Points
from scenerep.voxel_training.bounds import find_space
from scenerep.voxel_training.config import VoxelsConfig
from scenerep.voxel_training.schedule import stages


def test_the_box_holds_the_object_and_little_else(photographed: Capture) -> None:
    scene = small_scene(40)
    opaque = scene.opacity_logits > 0
    space = find_space(photographed, 100, bounded=True)
    low, high = scene.means[opaque].min(axis=0), scene.means[opaque].max(axis=0)
    assert not space.contracted
    assert (space.box[0] < low).all()
    assert (space.box[1] > high).all()
    assert (space.box[1] - space.box[0] < 2.6 * (high - low)).all()


def test_the_grid_has_the_volume_that_was_asked_for(photographed: Capture) -> None:
    space = find_space(photographed, 100, bounded=True)
    assert np.prod([n - 1 for n in space.size]) == pytest.approx(100**3, rel=0.05)
    sides = (space.box[1] - space.box[0]) / (np.array(space.size) - 1)
    assert sides.max() / sides.min() < 1.05  # voxels are cubes


def test_without_silhouettes_the_box_is_about_what_the_cameras_look_at(photographed: Capture) -> None:
    space = find_space(photographed, 64, bounded=False)
    assert space.contracted
    middle = space.box.mean(axis=0)
    assert np.linalg.norm(middle - [0.5, 0, 2]) < 0.3
    assert (np.abs(ring(1)[0].centre - middle) > space.half).any()  # the cameras stand outside


def test_points_set_the_size_of_the_inner_box(photographed: Capture) -> None:
    rng = np.random.default_rng(0)
    near = Points(rng.normal([0.5, 0, 2], 0.1, (500, 3)).astype(np.float32), np.zeros((500, 3), np.uint8))
    small = find_space(photographed.with_points(near), 64, bounded=False)
    plain = find_space(photographed, 64, bounded=False)
    assert (small.box[1] - small.box[0]).max() < (plain.box[1] - plain.box[0]).max()


def test_stages_end_at_the_full_size(photographed: Capture) -> None:
    space = find_space(photographed, 160, bounded=True)
    found = stages(VoxelsConfig(), space)
    assert found[0].begin == 0
    assert found[-1].space.size == space.size
    assert found[-1].begin == pytest.approx(VoxelsConfig().grow_until)
    sizes = [np.prod(stage.space.size) for stage in found]
    assert all(6 < b / a < 10 for a, b in pairwise(sizes))
    begins = [stage.begin for stage in found]
    assert begins == sorted(set(begins))
    assert len(stages(VoxelsConfig(), replace(space, size=(20, 20, 20)))) == 1
