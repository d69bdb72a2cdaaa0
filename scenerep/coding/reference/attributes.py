"""Attributes of a cell's Gaussians, predicted from neighbours that are decoded already.

Components of a Gaussian: log scales 0-2, rotation 3-5, opacity 6, colour 7-9, then three for each SH coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from scenerep.coding.reference.integer import IntegerModel
from scenerep.coding.reference.models import Mixer
from scenerep.coding.reference.octree import from_morton, morton, raw
from scenerep.coding.reference.range_coder import Coder, CodingError

NEIGHBOURS = 3
BASE = 10
FIRST = (0, 0, 6, 7, 10, 19, 34, 55)  # component at which each stream (geometry, shape, opacity, colour, SH 1-3) begins
_LIMIT = 1 << 24
_REACH = 8  # entries looked at on each side along a curve

_MAGNITUDES = (0, 1, 2, 3, 4, 5, 5, 6, 6, 6, *(7,) * 5, *(8,) * 8, *(9,) * 13, *(10,) * 25, 11, 11, 11)
_SIGNED = (0, 1, 2, 3, 4, 4, 5, 5, 5, 5, *(6,) * 8)


def magnitude_class(x: int) -> int:
    """0 .. 11, growing in width."""
    return _MAGNITUDES[x] if x < 64 else 11


def signed_class(x: int) -> int:
    """0 .. 14, 7 being zero."""
    c = _SIGNED[abs(x)] if abs(x) < 18 else 7
    return 7 - c if x < 0 else 7 + c


@dataclass
class Setup:
    """What the decoder is told about the first ten components: how their values fall into 16 classes."""

    base: int = 0
    shift: int = 0

    def value_class(self, value: int) -> int:
        return min(max((value - self.base) >> self.shift, 0), 15)


@dataclass
class Cell:
    """Gaussians in coded order: layer after layer, each by Morton code. Rows have all components."""

    depth: int
    bands: int
    codes: list[int] = field(default_factory=list)
    values: list[list[int]] = field(default_factory=list)
    neighbours: list[list[int]] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)
    present: list[list[bool]] = field(default_factory=lambda: [[], [], []])  # by SH band: whether it has values

    @property
    def components(self) -> int:
        return BASE + 3 * ((self.bands + 1) ** 2 - 1)


def find_neighbours(cell: Cell, begin: int) -> None:
    """For each Gaussian from `begin` on, the nearest of those before it, by squared distance on the grid, then index.

    Looked at are those within a few places along the Morton curve of all points up to now, and along the curve of the
    points shifted by a third of the grid: no border between large octree nodes is in the same place on both.
    """
    points = [from_morton(code) for code in cell.codes]
    near: list[set[tuple[int, int]]] = [set() for _ in points]
    for shift in (0, (1 << cell.depth) // 3):
        shifted = [morton((x + shift, y + shift, z + shift)) for x, y, z in points]
        curve = sorted(range(len(points)), key=lambda i: (shifted[i], i))
        for k, here in enumerate(curve):
            if here < begin:
                continue
            for there in curve[max(0, k - _REACH) : k + _REACH + 1]:
                if there < here:
                    distance = sum((a - b) ** 2 for a, b in zip(points[here], points[there]))
                    near[here].add((distance, there))
    for i in range(begin, len(points)):
        cell.neighbours.append([j for _, j in sorted(near[i])[:NEIGHBOURS]])


@dataclass(frozen=True)
class _Prediction:
    """What the neighbours say of a component; spread_class is of their values."""

    mean: int
    spread_class: int
    count: int


def _predict(cell: Cell, i: int, c: int) -> _Prediction:
    values = [cell.values[j][c] for j in cell.neighbours[i]]
    m = len(values)
    if m == 0:
        return _Prediction(0, 0, 0)
    return _Prediction((2 * sum(values) + m) // (2 * m), magnitude_class(max(values) - min(values)), m)


def _sh_context(cell: Cell, i: int, c: int) -> tuple[int, int]:
    """Class of the neighbours' values (their sum, made up to three) and of 3 / 2 of their mean magnitude."""
    values = [cell.values[j][c] for j in cell.neighbours[i]]
    m = len(values)
    if m == 0:
        return signed_class(0), 12
    return signed_class(3 * sum(values) // m), magnitude_class(3 * sum(map(abs, values)) // (2 * m))


class AttributeCoder:
    """Models and setups of a cell; codes its streams."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._setups = [Setup() for _ in range(BASE)]
        # Contexts of a component: four for shape, three for opacity and colour, two for SH.
        counts = [4] * 6 + [3] * 4 + [2] * (cell.components - BASE)
        self._models = [IntegerModel(count) for count in counts]
        self._present = [Mixer(3) for _ in range(cell.bands)]

    def choose_setups(self) -> None:
        """Encoder only: by the values of the whole cell."""
        n = len(self._cell.codes)
        for c, setup in enumerate(self._setups if n else []):
            column = sorted(row[c] for row in self._cell.values)
            setup.base = column[n // 100]  # classes over the middle 98 % of the values
            span = column[n - 1 - n // 100] - setup.base
            while span >> setup.shift > 15:
                setup.shift += 1

    def code(self, coder: Coder, stream: int, begin: int, end: int) -> None:
        """One stream, 1 (shape) to 6 (SH band 3), of the Gaussians begin .. end."""
        if begin == 0:
            self._code_setups(coder, FIRST[stream], FIRST[stream + 1])
        one = {1: self._shape, 2: self._opacity, 3: self._colour}.get(stream, self._sh)
        # One component after the other, so that few models and columns are in use at a time.
        one(coder, range(begin, end), stream)

    def _code_setups(self, coder: Coder, begin: int, end: int) -> None:
        for setup in self._setups[begin:end]:
            setup.base = raw(coder, setup.base + _LIMIT, 25, 8) - _LIMIT
            setup.shift = raw(coder, setup.shift, 5, 8)

    def _class(self, i: int, c: int) -> int:
        return self._setups[c].value_class(self._cell.values[i][c])

    def _layer(self, i: int) -> int:
        return min(self._cell.layers[i], 3)

    def _value(self, coder: Coder, i: int, c: int, mean: int, contexts: tuple) -> int:
        """Codes one component as its distance from `mean`; gives that distance."""
        row = self._cell.values[i]
        residual = self._models[c].code(coder, contexts, 0 if coder.decodes else row[c] - mean)
        row[c] = mean + residual
        if not -_LIMIT < row[c] < _LIMIT:
            raise CodingError("an attribute beyond 24 bits")
        return residual

    def _shape(self, coder: Coder, members: range, _: int) -> None:
        values = self._cell.values
        for group in (0, 3):
            errors: list[list[int]] = [[] for _ in members]
            for c in range(group, group + 3):
                for i, seen in zip(members, errors):
                    p = _predict(self._cell, i, c)
                    mean = self._setups[c].value_class(p.mean)
                    if seen:
                        other = self._class(i, c - 1)
                        sign = (seen[0] > 0) - (seen[0] < 0) if len(seen) > 1 else 0
                        before: tuple = (signed_class(seen[-1]), sign)
                    else:
                        other = self._class(i, 0) if c else 0
                        before = (self._layer(i),)
                    if group == 0:
                        form = (mean, self._layer(i))
                    else:
                        x, y, z = values[i][:3]
                        form = (signed_class((x - y) // 2), signed_class((y - z) // 2))
                    seen.append(
                        self._value(coder, i, c, p.mean, ((mean, other), before, (p.spread_class, p.count), form))
                    )

    def _opacity(self, coder: Coder, members: range, _: int) -> None:
        for i in members:
            p = _predict(self._cell, i, 6)
            mean = self._setups[6].value_class(p.mean)
            contexts = ((mean, p.count), (self._class(i, 0), self._layer(i)), (self._class(i, 1), self._class(i, 2)))
            self._value(coder, i, 6, p.mean, contexts)

    def _colour(self, coder: Coder, members: range, _: int) -> None:
        errors = [[0, 0, 0] for _ in members]
        for c in (7, 8, 9):
            for i, seen in zip(members, errors):
                p = _predict(self._cell, i, c)
                if c == 7:
                    before: tuple = (self._class(i, 0),)
                else:
                    before = (signed_class(seen[0]), signed_class(seen[1]))
                mean = self._setups[c].value_class(p.mean)
                contexts = (before, (p.spread_class, p.count), (mean, self._class(i, 6)))
                seen[c - 7] = self._value(coder, i, c, p.mean, contexts)

    def _sh(self, coder: Coder, members: range, stream: int) -> None:
        """A flag for each Gaussian whether the band has values, then those."""
        present = [i for i in members if self._has_band(coder, i, stream - 3)]
        totals = dict.fromkeys(present, 0)
        for c in range(FIRST[stream], FIRST[stream + 1]):
            for i in present:
                level, magnitude = _sh_context(self._cell, i, c)
                near = len(self._cell.neighbours[i])
                so_far = (magnitude_class(totals[i]), near, self._class(i, 6) // 4)
                self._value(coder, i, c, 0, ((magnitude, level), so_far))
                totals[i] = min(totals[i] + abs(self._cell.values[i][c]), 1 << 20)

    def _has_band(self, coder: Coder, i: int, band: int) -> bool:
        cell = self._cell
        row, first, last = cell.values[i], FIRST[band + 3], FIRST[band + 4]
        neighbours = cell.neighbours[i]
        having = sum(cell.present[band - 1][j] for j in neighbours)
        lower = band > 1 and cell.present[band - 2][i]
        contexts = (
            (having, len(neighbours), lower),
            (self._class(i, 6), lower),
            (self._class(i, 0), self._layer(i)),
        )
        flag = 0 if coder.decodes else int(any(row[first:last]))
        cell.present[band - 1].append(bool(self._present[band - 1].code(coder, contexts, 0, flag)))
        return cell.present[band - 1][i]
