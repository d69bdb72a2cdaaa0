"""The decoder of `dct` in plain Python: its specification, thousands of times slower than native/image_*.

Letters as there: n = side of a block, u, v = horizontal and vertical frequency, tree = 0 luma, 1 chroma.
"""

from __future__ import annotations

import numpy as np

from scenerep.codecs.dct import reference_blocks as blocks
from scenerep.codecs.dct.prior import Prior
from scenerep.codecs.dct.reference_models import TEMPLATES, mixers
from scenerep.coding.reference.range_coder import CodingError, RangeDecoder

_SUPER, _VERTICAL = 32, blocks.FIRST_DIRECTION + 24
_PLACES = {
    4: (0, 1, 2, 3),
    8: (0, 1, 2, 3, 4, 5, 6, 7),
    16: (0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7),
    32: (0, 1, 2, 3, *[4] * 4, *[5] * 8, *[6] * 8, *[7] * 8),
}


def decode_planes(
    stream: bytes, width: int, height: int, count: int, plane_steps: list[int], wide: bool, prior: Prior
) -> np.ndarray:
    """int64 [count, height, width]; sides are multiples of 8. Raises: CodingError."""
    picture = _Picture(stream, width, height, count, plane_steps, wide, prior)
    for y in range(0, height, _SUPER):
        for x in range(0, width, _SUPER):
            for tree in range(2 if count > 1 else 1):
                picture.node(tree, x, y, _SUPER)
    return np.stack(picture.samples)


def _size(n: int) -> int:
    return n.bit_length() - 3


def _log_class(t: int, most: int) -> int:
    if t < 4:
        return t
    lg = t.bit_length() - 1
    return min(most, 2 * lg + (t >> (lg - 1) & 1))


def _mode_class(mode: int) -> int:
    if mode <= blocks.MEAN:
        return 0
    if mode == blocks.FROM_LUMA:
        return 4
    d = mode - blocks.FIRST_DIRECTION
    return 1 if abs(d - 8) <= 3 else 2 if abs(d - 24) <= 3 else 3


class _Block:
    """What is known of a block before its levels."""

    def __init__(self, picture: _Picture, plane: int, x: int, y: int, n: int, mode: int) -> None:
        self.plane, self.x, self.y, self.n, self.mode = plane, x, y, n, _mode_class(mode)
        self.size, self.chroma = _size(n), int(plane > 0)
        self.activity = picture.activity_around(plane, x, y, n)
        self.other = picture.levels[1][y : y + n, x : x + n] if plane == 2 else None


class _Picture:
    def __init__(
        self, stream: bytes, width: int, height: int, count: int, plane_steps: list[int], wide: bool, prior: Prior
    ) -> None:
        self.coder = RangeDecoder(stream)
        self.coefficients, self.syntax = mixers(prior)
        self.width, self.height = width, height
        self.high = 1 << (18 if wide else 12)
        self.limit = (1 << (22 if wide else 16)) - 1
        self.middle = [1 << (15 if wide else 9), 0, 0]
        self.samples = [np.full((height, width), self.middle[p], np.int64) for p in range(count)]
        self.levels = [np.zeros((height, width), np.int64) for _ in range(count)]
        units = (height // 4, width // 4)
        self.activity = [np.zeros(units, np.int64) for _ in range(count)]
        self.sizes, self.modes, self.done = ([np.zeros(units, np.int64) for _ in range(2)] for _ in range(3))
        self.steps = [
            {n: blocks.steps(prior.profiles[int(p > 0), _size(n)], n, plane_steps[p]) for n in (4, 8, 16, 32)}
            for p in range(count)
        ]

    def bit(self, number: int, contexts: tuple[int, int, int]) -> int:
        """A bit of the syntax."""
        return self.syntax.code(self.coder, contexts, number, 0)

    def node(self, tree: int, x: int, y: int, n: int) -> None:
        if x >= self.width or y >= self.height:
            return
        fits = x + n <= self.width and y + n <= self.height
        if not fits or (n > (8 if tree else 4) and self.split(tree, x, y, n)):
            for k in range(4):
                self.node(tree, x + (k & 1) * n // 2, y + (k >> 1) * n // 2, n // 2)
            return
        mode = self.mode(tree, x, y, n)
        for plane in range(tree, 2 * tree + 1):
            block = _Block(self, plane, x, y, n, mode)
            levels = self.levels_of(block) if self.filled(block) else np.zeros((n, n), np.int64)
            self.levels[plane][y : y + n, x : x + n] = levels
            self.reconstruct(plane, x, y, n, mode, levels)
            density = int(np.abs(levels).sum()) * 64 // (n * n)
            filled = 1 + sum(density >= bound for bound in (2, 8, 24, 80))
            self.units(self.activity[plane], x, y, n)[:] = filled if levels.any() else 0
        self.units(self.sizes[tree], x, y, n)[:] = n
        self.units(self.modes[tree], x, y, n)[:] = mode
        self.units(self.done[tree], x, y, n)[:] = 1

    @staticmethod
    def units(grid: np.ndarray, x: int, y: int, n: int) -> np.ndarray:
        return grid[y // 4 : (y + n) // 4, x // 4 : (x + n) // 4]

    def known(self, tree: int, x: int, y: int) -> bool:
        return x >= 0 and y >= 0 and bool(self.done[tree][y // 4, x // 4])

    def activity_around(self, plane: int, x: int, y: int, n: int) -> int:
        tree = int(plane > 0)
        places = [(x - 1, y + k) for k in range(0, n, 4)] + [(x + k, y - 1) for k in range(0, n, 4)]
        found = [int(self.activity[plane][b // 4, a // 4]) for a, b in places if self.known(tree, a, b)]
        return (2 * sum(found) + len(found)) // (2 * len(found)) if found else 2

    def split(self, tree: int, x: int, y: int, n: int) -> int:
        def size_at(px: int, py: int) -> int:
            return 1 + _size(int(self.sizes[tree][py // 4, px // 4])) if self.known(tree, px, py) else 0

        left, above, own = size_at(x - 1, y), size_at(x, y - 1), tree * 4 + _size(n)
        smaller = (0 < left <= _size(n)) + (0 < above <= _size(n))
        activity = self.activity_around(tree, x, y, n)
        return self.bit(own, (own * 4 + smaller, (own * 5 + left) * 5 + above, own * 6 + activity))

    def likely(self, tree: int, x: int, y: int, n: int) -> tuple[int, int, int]:
        smooth, mean, first, last = blocks.SMOOTH, blocks.MEAN, blocks.FIRST_DIRECTION, blocks.DIRECTIONS
        if tree:
            luma = int(self.modes[0][(y + n // 2) // 4, (x + n // 2) // 4])
            return blocks.FROM_LUMA, luma, mean if luma == smooth else smooth
        left, above = (
            int(self.modes[0][py // 4, px // 4]) if self.known(0, px, py) else smooth
            for px, py in ((x - 1, y + n - 1), (x + n - 1, y - 1))
        )
        if left == above:
            if left < first:
                return left, 1 - left, _VERTICAL
            d = left - first
            return left, first + (d - 1 if d > 0 else d + 2), first + (d + 1 if d + 1 < last else d - 2)
        if smooth not in (left, above):
            return left, above, smooth
        return left, above, mean if mean not in (left, above) else _VERTICAL

    def mode(self, tree: int, x: int, y: int, n: int) -> int:
        likely = self.likely(tree, x, y, n)
        own = tree * 4 + _size(n)
        first, second = (tree * 5 + _mode_class(mode) for mode in likely[:2])
        for k in range(3):
            if self.bit(8 + tree * 3 + k, (256 + own * 3 + k, 256 + first * 3 + k, 256 + second * 3 + k)):
                return likely[k]
        node = 1
        for k in range(5, -1, -1):
            contexts = (2700 + tree * 64 + node, 2700 + own * 64 + node, 2700 + first * 64 + node)
            node = node << 1 | self.bit(416 + tree * 6 + k, contexts)
        if node - 64 >= blocks.MODES - (tree == 0):
            raise CodingError("there is no such mode of prediction")
        return node - 64

    def filled(self, b: _Block) -> int:
        def empty(x: int, y: int) -> int:
            return int(self.activity[b.plane][y // 4, x // 4] == 0) if self.known(b.chroma, x, y) else 2

        other = int(b.other is not None and b.other.any())
        own = b.plane * 4 + b.size
        around = (own * 3 + empty(b.x - 1, b.y)) * 3 + empty(b.x, b.y - 1)
        return self.bit(32 + own, (3400 + around, 3600 + (own * 6 + b.activity) * 2 + other, 3800 + own * 5 + b.mode))

    def last(self, b: _Block) -> int:
        own = b.chroma * 4 + b.size

        def bit(node: int) -> int:
            number = 64 + own * 44 + node
            by_activity, by_mode = 512 + (own * 6 + b.activity) * 44 + node, 512 + (b.mode * 4 + b.size) * 44 + node
            return self.bit(number, (512 + number, by_activity, by_mode))

        e = 0
        while e < b.size * 2 + 4 and bit(e):
            e += 1
        m = 1
        for below in range(e):
            m = m << 1 | (bit(11 + 3 * (e - 1) + m - 1) if below < 2 else self.coder.raw(0, 1))
        if m - 1 >= b.n * b.n:
            raise CodingError("a coefficient lies outside its block")
        return m - 1

    def levels_of(self, b: _Block) -> np.ndarray:
        levels = np.zeros((b.n, b.n), np.int64)
        magnitudes = [[0] * (b.n + 2) for _ in range(b.n + 2)]
        order = blocks.scan(b.n)
        last, nonzero = self.last(b), 0
        for i in range(last, -1, -1):
            u, v = order[i]
            magnitude = self.magnitude(b, self.contexts(b, magnitudes, u, v, nonzero), i == last)
            if magnitude:
                levels[v, u] = -magnitude if self.coder.raw(0, 1) else magnitude
                magnitudes[v][u] = magnitude
                nonzero += 1
        return levels

    def contexts(self, b: _Block, m: list[list[int]], u: int, v: int, nonzero: int) -> list[int]:
        right, below, across, far = m[v][u + 1], m[v + 1][u], m[v + 1][u + 1], m[v][u + 2] + m[v + 2][u]
        t = min(2 * (right + below + across) + far, 1 << 20)
        tc, few = _log_class(t, TEMPLATES - 1), 0 if t == 0 else 1 if t < 5 else 2
        own, d = b.chroma * 4 + b.size, sum(u + v >= bound for bound in (1, 3, 6, 11))
        n0 = sum(nonzero >= bound for bound in (1, 3, 8, 24))

        def fifth(f: int) -> int:
            return f if f < 2 else 2 if f * 8 < b.n * 2 else 3 if f * 8 < b.n * 4 else 4

        if b.other is None:
            last = b.plane * 600 + ((b.activity * 5 + n0) * 5 + d) * 4 + b.size
        else:
            last = 1200 + ((min(abs(int(b.other[v, u])), 3) * 6 + min(tc, 5)) * 5 + d) * 4 + b.size
        place = _PLACES[b.n]
        return [
            (own * TEMPLATES + tc) * 5 + d,
            ((own * 8 + place[v]) * 8 + place[u]) * 3 + few,
            b.chroma * 192 + ((min(right, 3) * 4 + min(below, 3)) * 3 + min(across, 2)) * 4 + min(far, 3),
            (((b.mode * 4 + b.size) * 5 + fifth(v)) * 5 + fifth(u)) * 3 + few,
            last,
        ]

    def magnitude(self, b: _Block, contexts: list[int], known: bool) -> int:
        def bit(node: int) -> int:
            number = (b.chroma * 4 + b.size) * 28 + node
            return self.coefficients.code(self.coder, [28 * context + node for context in contexts], number, 0)

        if not known and not bit(0):
            return 0
        e = 0
        while bit(1 + min(e, 7)):
            e += 1
            if e > 22:
                raise CodingError("a coefficient has more than 22 bits")
        m = 1
        for below in range(e):
            if e <= 2:
                m = m << 1 | bit((9 if e == 1 else 10) + m - 1)
            elif below < 2:
                m = m << 1 | bit(13 + 3 * (min(e, 7) - 3) + m - 1)
            else:
                m = m << 1 | self.coder.raw(0, 1)
        return m

    def reconstruct(self, plane: int, x: int, y: int, n: int, mode: int, levels: np.ndarray) -> None:
        done = self.done[int(plane > 0)]
        edge = blocks.gather(self.samples[plane], done, x, y, n, self.middle[plane])
        if mode == blocks.FROM_LUMA:
            luma_edge = blocks.gather(self.samples[0], done, x, y, n, self.middle[0])
            prediction = blocks.predict_from_luma(self.samples[0][y : y + n, x : x + n], luma_edge, edge)
        else:
            prediction = blocks.predict(mode, n, blocks.smoothed(edge, n) if blocks.uses_smooth(mode, n) else edge)
        coefficients = np.clip((levels * self.steps[plane][n] + 128) >> 8, -self.limit, self.limit)
        residual = blocks.inverse_transform(coefficients, self.limit)
        self.samples[plane][y : y + n, x : x + n] = np.clip(prediction + residual, -self.high, self.high - 1)
