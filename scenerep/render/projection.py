"""From raw parameters to ellipses on the screen: EWA projection (Zwicker et al. 2001) as in gsplat, in plain torch.

n Gaussians of the scene, m of them visible. docs/rasterisation.md has the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenerep.geometry import sh as harmonics
from scenerep.geometry.cameras import Camera
from scenerep.render.constants import ALPHA_MIN, CLAMP, FAR, LOW_PASS, NEAR


@dataclass
class Ellipses:
    """Projected Gaussians.

    centres [px]; conics: (a, b, c) of the inverse covariance [[a, b], [b, c]] [1/px^2], low-pass filter included;
    depths: camera z; opacities: in [0, 1], with the compensation if antialiased; reach: half width and half height of
    the rectangle around the ellipse where alpha >= 1/255 [px], NaN for opacities below that.
    """

    centres: Float[Tensor, "m 2"]
    conics: Float[Tensor, "m 3"]
    depths: Float[Tensor, " m"]
    opacities: Float[Tensor, " m"]
    reach: Float[Tensor, "m 2"]


def rotation_matrices(quats: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    """Rotation matrices of quaternions wxyz of any length; length 0 gives the identity and no gradient."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1).unbind(1)
    entries = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in entries], dim=1)


def project(
    means: Float[Tensor, "n 3"],
    log_scales: Float[Tensor, "n 3"],
    quats: Float[Tensor, "n 4"],
    opacity_logits: Float[Tensor, " n"],
    camera: Camera,
    camera_from_world: Float[Tensor, "4 4"],
    antialiased: bool,
) -> Ellipses:
    """Project every Gaussian; those behind the camera give meaningless numbers, which `visible_order` ignores."""
    rotation, translation = camera_from_world[:3, :3], camera_from_world[:3, 3]
    x, y, z = (means @ rotation.T + translation).unbind(1)
    centres = torch.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], dim=1)

    # Rows 0 and 1 of J W R S with the Jacobian J = [[fx/z, 0, -fx tx/z^2], [0, fy/z, -fy ty/z^2]]: their products are
    # the covariance. tx/z and ty/z are clamped, because the linearisation explodes far outside the picture.
    tx = _clamp_direction(x / z, camera.fx, camera.cx, camera.width)
    ty = _clamp_direction(y / z, camera.fy, camera.cy, camera.height)
    axes = rotation @ (rotation_matrices(quats) * log_scales.exp()[:, None, :])
    row_u = (camera.fx / z)[:, None] * (axes[:, 0] - tx[:, None] * axes[:, 2])
    row_v = (camera.fy / z)[:, None] * (axes[:, 1] - ty[:, None] * axes[:, 2])
    var_u = (row_u * row_u).sum(1) + LOW_PASS
    var_v = (row_v * row_v).sum(1) + LOW_PASS
    cov_uv = (row_u * row_v).sum(1)
    # Of A A^T, the determinant is the squared length of the cross product of A's rows (Cauchy-Binet). Unlike
    # var_u var_v - cov_uv^2 it does not cancel for needles.
    det_sharp = torch.linalg.cross(row_u, row_v).square().sum(1)
    det = det_sharp + LOW_PASS * (var_u + var_v - LOW_PASS)  # det(S + e I) = det S + e tr S + e^2

    opacities = torch.sigmoid(opacity_logits)
    if antialiased:
        opacities = opacities * torch.sqrt(det_sharp / det)
    with torch.no_grad():
        # opacity exp(-sigma) >= 1/255 where sigma <= limit; the ellipse's half width there is sqrt(2 limit var).
        limit = torch.log(opacities / ALPHA_MIN)
        reach = torch.sqrt(2 * limit[:, None] * torch.stack([var_u, var_v], dim=1))
    return Ellipses(
        centres=centres,
        conics=torch.stack([var_v, -cov_uv, var_u], dim=1) / det[:, None],
        depths=z,
        opacities=opacities,
        reach=reach,
    )


def _clamp_direction(slope: Tensor, focal: float, principal: float, size: int) -> Tensor:
    margin = CLAMP * 0.5 * size / focal
    return slope.clamp(min=-(principal / focal + margin), max=(size - principal) / focal + margin)


@torch.no_grad()
def visible_order(ellipses: Ellipses, camera: Camera) -> Int[Tensor, " m"]:
    """Indices of the visible Gaussians, front to back; equal depths in order of index."""
    z = ellipses.depths
    first, last = pixel_rectangles(ellipses, camera)
    # NaN fails every comparison, so that this also culls what overflowed.
    visible = (z >= NEAR) & (z <= FAR) & (ellipses.opacities >= ALPHA_MIN) & (first <= last).all(1)
    visible &= torch.isfinite(ellipses.conics).all(1) & torch.isfinite(ellipses.centres).all(1)
    index = visible.nonzero()[:, 0]
    return index[torch.sort(z[index], stable=True).indices]


@torch.no_grad()
def pixel_rectangles(ellipses: Ellipses, camera: Camera) -> tuple[Float[Tensor, "m 2"], Float[Tensor, "m 2"]]:
    """First and last pixel (column, row) whose centre lies in the reach and in the picture; first > last if none."""
    size = ellipses.centres.new_tensor([camera.width, camera.height])
    first = torch.ceil(ellipses.centres - ellipses.reach - 0.5).clamp(min=0)
    last = torch.minimum(torch.floor(ellipses.centres + ellipses.reach - 0.5), size - 1)
    return first, last


def colours(
    means: Float[Tensor, "m 3"], sh: Float[Tensor, "m k 3"], camera_from_world: Float[Tensor, "4 4"], degree: int
) -> Float[Tensor, "m 3"]:
    """Colour of each Gaussian as seen from the camera, >= 0."""
    # The pose is rigid, so its inverse's translation is -R^T t; gsplat inverts the matrix, which has the same
    # derivative along rigid motions.
    centre = -camera_from_world[:3, :3].T @ camera_from_world[:3, 3]
    directions = torch.nn.functional.normalize(means - centre, dim=1)
    return (harmonics.evaluate(sh, directions, degree) + 0.5).clamp(min=0)
