"""A small procedural scene and its analytic ray caster: exact colours, depth and surfaces, without a renderer.

Four textured solids stand on a round, textured floor under a sun with hard shadows; all surfaces are glossy, so colours
depend on the view. Rays are origins o [n, 3] and unit directions d [n, 3]; t [n] is the distance, inf = no hit. World
z is up; colours are display values in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_SUN = np.array([0.45, -0.35, 0.82]) / np.linalg.norm([0.45, -0.35, 0.82])
# Hit points are lifted off their surface by this much before a shadow ray starts.
_LIFT = 1e-4

Hits = tuple[np.ndarray, np.ndarray]  # t [n], outward normal [n, 3] (anything where t is inf)
Paint = Callable[[np.ndarray], np.ndarray]  # points in the solid's own frame [n, 3] to colours [n, 3]


@dataclass(frozen=True)
class Solid:
    """A shape in its own frame, turned by `angle` about z and moved to `centre`; `gloss` in [0, 1]."""

    hit: Callable[[np.ndarray, np.ndarray], Hits]
    centre: np.ndarray
    angle: float
    paint: Paint
    gloss: float
    radius: float  # of a ball around `centre` that holds the shape: most rays miss it, at the price of one product

    def turn(self) -> np.ndarray:
        """[3, 3] from the solid's frame to the world."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def make_scene(seed: int) -> list[Solid]:
    """The solids, floor first; the seed moves, turns and colours them a little and changes their grain."""
    rng = np.random.default_rng(seed)

    def place(x: float, y: float, z: float) -> np.ndarray:
        return np.array([x, y, z]) + np.append(rng.uniform(-0.06, 0.06, 2), 0.0)

    def paint(pattern: Callable[[np.ndarray], np.ndarray], dark, light, grain: float = 0.25) -> Paint:
        shift = rng.uniform(0, 1000, 3)
        colours = np.clip(np.array([dark, light]) + rng.uniform(-0.06, 0.06, (2, 3)), 0, 1)

        def colour(p: np.ndarray) -> np.ndarray:
            mixed = colours[0] + (colours[1] - colours[0]) * pattern(p)[:, None]
            return mixed * (1 - grain + 2 * grain * noise(p * 9 + shift)[:, None])

        return colour

    turns = rng.uniform(0, 2 * np.pi, 4)
    marble_shift = rng.uniform(0, 1000, 3)

    def marble(p: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.sin(22 * p[:, 0] + 14 * noise(p * 7 + marble_shift))

    floor = paint(_tiles(0.3), (0.42, 0.36, 0.31), (0.74, 0.69, 0.6), 0.35)
    beach_ball = paint(_swirl, (0.78, 0.2, 0.16), (0.97, 0.9, 0.8))
    box = paint(_checker(0.12), (0.05, 0.33, 0.4), (0.8, 0.92, 0.9))
    can = paint(_spiral, (0.12, 0.16, 0.42), (0.98, 0.78, 0.25))
    stone = paint(marble, (0.08, 0.3, 0.14), (0.66, 0.85, 0.5))
    return [
        Solid(_disc(1.5), np.zeros(3), 0.3, floor, 0.12, 1.5),
        Solid(_ball(0.42), place(-0.42, 0.36, 0.42), turns[0], beach_ball, 0.6, 0.42),
        Solid(_box(0.3, 0.3, 0.3), place(0.52, 0.3, 0.3), turns[1], box, 0.25, 0.52),
        Solid(_can(0.2, 0.36), place(0.2, -0.5, 0.36), turns[2], can, 0.45, 0.42),
        Solid(_ball(0.24), place(-0.55, -0.42, 0.24), turns[3], stone, 0.35, 0.24),
    ]


def cast(scene: list[Solid], o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour [n, 3] and distance t [n] of what each ray sees first; black and inf where it sees nothing."""
    t, which, normal = _first(scene, o, d)
    colour = np.zeros_like(o)
    hit = np.flatnonzero(np.isfinite(t))
    points, normals = o[hit] + t[hit, None] * d[hit], normal[hit]
    base, gloss = np.zeros((len(hit), 3)), np.zeros(len(hit))
    for i, solid in enumerate(scene):
        mine = which[hit] == i
        base[mine] = solid.paint((points[mine] - solid.centre) @ solid.turn())
        gloss[mine] = solid.gloss
    colour[hit] = _shade(scene, points, normals, d[hit], base, gloss)
    return np.clip(colour, 0, 1), t


def _first(scene: list[Solid], o: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    t = np.full(len(o), np.inf)
    which = np.full(len(o), -1)
    normal = np.zeros_like(o)
    for i, solid in enumerate(scene):
        turn = solid.turn()
        from_centre = o - solid.centre
        along = np.einsum("ij,ij->i", from_centre, d)
        near = np.flatnonzero(along**2 >= np.einsum("ij,ij->i", from_centre, from_centre) - solid.radius**2)
        ti, ni = solid.hit(from_centre[near] @ turn, d[near] @ turn)
        nearer = ti < t[near]
        rows = near[nearer]
        t[rows], which[rows] = ti[nearer], i
        normal[rows] = ni[nearer] @ turn.T
    return t, which, normal


def _shade(scene, points, normals, d, base, gloss) -> np.ndarray:
    """Sun and sky on a matt base (Lambert), plus a highlight (Blinn-Phong) and a mirrored sky (Schlick's Fresnel)."""
    sun = np.clip(normals @ _SUN, 0, None)
    lit = np.flatnonzero(sun > 0)
    # The floor lies below everything and shades nothing.
    blocked = _first(scene[1:], points[lit] + _LIFT * normals[lit], np.broadcast_to(_SUN, (len(lit), 3)))[0]
    sun[lit[np.isfinite(blocked)]] = 0
    sky = 0.5 + 0.5 * normals[:, 2]
    matt = base * (0.22 + 0.28 * sky + 0.62 * sun)[:, None]
    half = _SUN - d
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    highlight = gloss * np.clip((normals * half).sum(axis=1), 0, None) ** 40 * (sun > 0)
    cosine = np.clip(-(normals * d).sum(axis=1), 0, 1)
    mirrored = d + 2 * cosine[:, None] * normals
    fresnel = gloss * (0.04 + 0.96 * (1 - cosine) ** 5)
    reflection = np.array([0.62, 0.74, 0.9]) * np.clip(0.35 + 0.65 * mirrored[:, 2:], 0, 1)
    return matt * (1 - fresnel)[:, None] + 0.7 * highlight[:, None] + fresnel[:, None] * reflection


def _ball(radius: float):
    def hit(o: np.ndarray, d: np.ndarray) -> Hits:
        b = (o * d).sum(axis=1)
        inside = b * b - (o * o).sum(axis=1) + radius * radius
        t = -b - np.sqrt(np.clip(inside, 0, None))
        t = np.where((inside > 0) & (t > 0), t, np.inf)
        return t, _at(o, d, t) / radius

    return hit


def _box(*half: float):
    size = np.array(half)

    def hit(o: np.ndarray, d: np.ndarray) -> Hits:
        step = 1 / np.where(np.abs(d) < 1e-12, 1e-12, d)
        near, far = (-size * np.sign(step) - o) * step, (size * np.sign(step) - o) * step
        axis = near.argmax(axis=1)
        t = near.max(axis=1)
        t = np.where((t < far.min(axis=1)) & (t > 0), t, np.inf)
        rows = np.arange(len(o))
        normal = np.zeros_like(o)
        normal[rows, axis] = -np.sign(d[rows, axis])
        return t, normal

    return hit


def _can(radius: float, half: float):
    def hit(o: np.ndarray, d: np.ndarray) -> Hits:
        a = np.clip((d[:, :2] ** 2).sum(axis=1), 1e-12, None)
        b = (o[:, :2] * d[:, :2]).sum(axis=1)
        inside = b * b - a * ((o[:, :2] ** 2).sum(axis=1) - radius * radius)
        side = (-b - np.sqrt(np.clip(inside, 0, None))) / a
        on_side = (inside > 0) & (side > 0) & (np.abs(o[:, 2] + side * d[:, 2]) <= half)
        lid = (half * np.sign(o[:, 2]) - o[:, 2]) / np.where(np.abs(d[:, 2]) < 1e-12, 1e-12, d[:, 2])
        on_lid = (lid > 0) & (((o[:, :2] + lid[:, None] * d[:, :2]) ** 2).sum(axis=1) <= radius * radius)
        t_side, t_lid = np.where(on_side, side, np.inf), np.where(on_lid, lid, np.inf)
        t = np.minimum(t_side, t_lid)
        normal = _at(o, d, t) / radius
        normal[:, 2] = 0
        top = t_lid < t_side
        normal[top] = np.stack([0 * o[top, 2], 0 * o[top, 2], np.sign(o[top, 2])], axis=1)
        return t, normal

    return hit


def _disc(radius: float):
    def hit(o: np.ndarray, d: np.ndarray) -> Hits:
        t = -o[:, 2] / np.where(np.abs(d[:, 2]) < 1e-12, 1e-12, d[:, 2])
        on = (t > 0) & (((o[:, :2] + t[:, None] * d[:, :2]) ** 2).sum(axis=1) <= radius * radius)
        normal = np.zeros_like(o)
        normal[:, 2] = np.sign(o[:, 2])
        return np.where(on, t, np.inf), normal

    return hit


def _at(o: np.ndarray, d: np.ndarray, t: np.ndarray) -> np.ndarray:
    return o + np.where(np.isfinite(t), t, 0)[:, None] * d


def _checker(size: float):
    def pattern(p: np.ndarray) -> np.ndarray:
        # Shifted by an odd fraction, so that faces do not fall on the edge between two cells.
        return (np.floor(p / size + 0.487).sum(axis=1) % 2).astype(float)

    return pattern


def _tiles(size: float):
    def pattern(p: np.ndarray) -> np.ndarray:
        cell = p[:, :2] / size
        shade = (np.floor(cell).sum(axis=1) % 2) * 0.55 + 0.35 * noise(np.floor(p * [1, 1, 0] / size) * 7.3)
        joint = np.abs(cell - np.round(cell)).min(axis=1) < 0.035
        return np.where(joint, 0.0, shade + 0.1)

    return pattern


def _swirl(p: np.ndarray) -> np.ndarray:
    turns = np.arctan2(p[:, 1], p[:, 0]) / (2 * np.pi) * 6 + 2.2 * p[:, 2]
    return (turns % 1 < 0.5).astype(float)


def _spiral(p: np.ndarray) -> np.ndarray:
    turns = np.arctan2(p[:, 1], p[:, 0]) / (2 * np.pi) * 2 + 5.5 * p[:, 2]
    return (turns % 1 < 0.45).astype(float)


def noise(p: np.ndarray) -> np.ndarray:
    """Value noise [n] in [0, 1] at points [n, 3]: two octaves of smoothly blended random numbers on a unit grid."""
    return (2 * _grid_noise(p) + _grid_noise(p * 2.03 + 17.7)) / 3


# One odd constant an axis; a cell's number is the exclusive or of its coordinates times these.
_PRIMES = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D], dtype=np.uint32)


def _grid_noise(p: np.ndarray) -> np.ndarray:
    cell = np.floor(p)
    f = p - cell
    f = f * f * (3 - 2 * f)
    x, y, z = (f[:, axis] for axis in range(3))
    low = cell.astype(np.int64).astype(np.uint32) * _PRIMES
    high = low + _PRIMES
    corners = [
        [[_hash(a ^ b ^ c) for a in (low[:, 0], high[:, 0])] for b in (low[:, 1], high[:, 1])]
        for c in (low[:, 2], high[:, 2])
    ]
    faces = [[a + (b - a) * x for a, b in rows] for rows in corners]
    edges = [a + (b - a) * y for a, b in faces]
    return edges[0] + (edges[1] - edges[0]) * z


def _hash(h: np.ndarray) -> np.ndarray:
    """A number in [0, 1) for each cell number [n]: multiply and shift as in Murmur's finaliser."""
    h = (h ^ h >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    h = (h ^ h >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return (h ^ h >> np.uint32(16)) * (1 / 2.0**32)
