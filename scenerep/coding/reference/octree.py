"""Positions as an octree, breadth first, its nodes along the Morton curve.

A node with one point ends the subdivision: the rest of its coordinates follows as raw bits. Other nodes tell which of
their eight children are occupied; a leaf that is not single tells its count.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from scenerep.coding.reference.integer import IntegerModel
from scenerep.coding.reference.models import Mixer
from scenerep.coding.reference.range_coder import Coder, CodingError

Point = tuple[int, int, int]


def morton(point: Point) -> int:
    """Bit 3 i + 2 is bit i of x, 3 i + 1 of y, 3 i of z."""
    code = 0
    for axis, value in enumerate(point):
        for i in range(value.bit_length()):
            code |= (value >> i & 1) << (3 * i + 2 - axis)
    return code


def from_morton(code: int) -> Point:
    x = y = z = 0
    for i in range((code.bit_length() + 2) // 3):
        x |= (code >> (3 * i + 2) & 1) << i
        y |= (code >> (3 * i + 1) & 1) << i
        z |= (code >> (3 * i) & 1) << i
    return x, y, z


@dataclass
class _Node:
    """code: Morton code at the node's level. points: its points, which only the encoder knows. siblings: occupied
    children of the parent. multiple: known to hold two points or more."""

    code: int
    points: list[int]
    siblings: int
    multiple: bool


class OctreeModels:
    """They live as long as a cell."""

    def __init__(self) -> None:
        self.single, self.child, self.count = Mixer(3), Mixer(4), IntegerModel(1)


def code_octree(
    coder: Coder, models: OctreeModels, depth: int, lower: list[int], count: int, codes: list[int]
) -> list[int]:
    """Codes the points of one chunk; gives their sorted Morton codes.

    Args:
        lower: Sorted Morton codes of the points of the layers known already.
        count: Points of the chunk.
        codes: Their sorted Morton codes; empty when decoding.
    """
    found: list[int] = []
    nodes = [_Node(0, codes, 1, count > 1)] if count > 0 else []

    def known(code: int, shift: int) -> int:
        """Points of lower layers in a node."""
        return bisect_left(lower, (code + 1) << shift) - bisect_left(lower, code << shift)

    def keep(code: int, times: int) -> None:
        if len(found) + times > count:
            raise CodingError("more points than announced")
        found.extend([code] * times)

    for level in range(depth + 1):
        shift = 3 * (depth - level)
        here = {node.code for node in nodes}
        if level == 0:
            here = {0}
        following: list[_Node] = []
        below: set[int] = set()
        for node in nodes:
            faces = _occupied_faces(node.code, level, here)
            touched = sum(face is not None for face in faces)
            known_class = min(known(node.code, shift), 3)
            if not node.multiple:
                contexts = (
                    (node.siblings, known_class),
                    (touched, level),
                    (known_class, node.siblings, 2 if touched > 2 else int(touched > 0)),
                )
                if models.single.code(coder, contexts, known_class, int(len(node.points) == 1)):
                    rest = 0 if coder.decodes else node.points[0] & ((1 << shift) - 1)
                    keep(node.code << shift | raw(coder, rest, shift, 6), 1)
                    continue
            if level == depth:
                more = models.count.code(coder, (0,), 0 if coder.decodes else len(node.points) - 2)
                if more < 0:
                    raise CodingError("a negative count")
                keep(node.code, more + 2)
                continue
            children = _code_children(coder, models, node, level, shift, faces, touched, known_class, known, below)
            for child in children:
                child.siblings, child.multiple = len(children), len(children) == 1
                below.add(child.code)
                following.append(child)
            if len(following) > count:
                raise CodingError("more nodes than points")
        nodes = following
    if len(found) != count:
        raise CodingError("fewer points than announced")
    return sorted(found)


def _occupied_faces(code: int, level: int, here: set[int]) -> list[int | None]:
    """Codes of the face neighbours -x, +x, -y, +y, -z, +z; None where there is none."""
    at = from_morton(code)
    faces: list[int | None] = []
    for f in range(6):
        p = list(at)
        p[f // 2] += 1 if f % 2 else -1
        inside = 0 <= p[f // 2] < 1 << level
        neighbour = morton((p[0], p[1], p[2])) if inside else -1
        faces.append(neighbour if neighbour in here else None)
    return faces


def _code_children(coder, models, node, level, shift, faces, touched, known_class, known, below) -> list[_Node]:
    occupied = 0
    children: list[_Node] = []
    rest = node.points
    for c in range(8):
        child = node.code << 3 | c
        split = bisect_left(rest, (child + 1) << (shift - 3))
        points, rest = rest[:split], rest[split:]
        bit = int(bool(points))
        if c < 7 or occupied:
            # What touches the child from outside: 0 nothing, 1 perhaps something, 2 something.
            outside = inside = 0
            for axis in range(3):
                mask = 4 >> axis
                high = bool(c & mask)
                face = faces[2 * axis + high]
                state = 0
                if face is not None:
                    state = 2 if not high and face << 3 | c | mask in below else 1
                outside = 3 * outside + state
                if high:
                    inside += occupied >> (c ^ mask) & 1
            contexts = (
                (occupied | 1 << c, touched),
                (outside, inside, c),
                (known_class, min(known(child, shift - 3), 2), len(children)),
                (level, len(children)),
            )
            bit = models.child.code(coder, contexts, c, bit)
        else:
            bit = 1  # the last one, and none before
        if bit:
            children.append(_Node(child, points, 0, False))
            occupied |= 1 << c
    return children


def raw(coder: Coder, value: int, count: int, at_once: int) -> int:
    """`count` equally likely bits, from the top, `at_once` at a time."""
    read, left = 0, count
    while left > 0:
        take = min(left, at_once)
        left -= take
        read = read << take | coder.raw(value >> left & ((1 << take) - 1), take)
    return read
