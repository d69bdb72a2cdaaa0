"""The training loss of splats, (1 - lambda) L1 + lambda (1 - SSIM), and its gradient, in one native call.

The kernel is `native/loss.cpp`; `scenerep.metrics.reference.l1_ssim_reference` is the same in plain torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scenerep.errors import ConfigError, DataError
from scenerep.metrics.pictures import as_mask, as_pair, as_picture
from scenerep.native import native


class LossAndGradient(NamedTuple):
    """`loss`, its parts `l1` and `ssim` (means over the pixels kept), and d loss / d image, float32 [h, w, 3]."""

    loss: float
    l1: float
    ssim: float
    gradient: np.ndarray


class L1SSIM:
    """(1 - lambda) * mean |x - y| + lambda * (1 - mean SSIM(x, y)), the loss of 3DGS (Kerbl et al. 2023, eq. 7).

    SSIM has an 11 x 11 Gaussian window with sigma 1.5 and sees zeros outside the picture. With a mask (0 = ignore) both
    pictures are multiplied by it first, and the means run over the pixels that are kept; elsewhere the gradient is
    zero. If nothing is kept, the loss and the gradient are zero. The result is the same for every number of threads.

    Memory is kept between calls, so one object serves a whole training; calls from several threads take turns.

    Args:
        lambda_: Weight of the SSIM term, in [0, 1].
    """

    def __init__(self, lambda_: float = 0.2) -> None:
        if not 0 <= lambda_ <= 1:
            raise ConfigError(f"the weight of SSIM is {lambda_}, expected a number in [0, 1]")
        self.lambda_ = float(lambda_)
        self._workspace = native().LossWorkspace()

    def target_statistics(self, target: Any, mask: Any = None, dtype: type = np.float32) -> np.ndarray:
        """The target's local mean and variance [2, h, w, 3], which `loss_and_gradient` need not compute again then.

        Saves a tenth of the time, for eight times the memory of the 8-bit target in float32, four times in float16
        (which moves SSIM by some 1e-6). Belongs to this target with this mask.

        Args:
            target: [h, w, 3] uint8, or float in [0, 1].
            mask: [h, w], 0 = ignore.
            dtype: np.float32 or np.float16.
        """
        picture = as_picture(target, "the target")
        out = np.empty((2, *picture.shape), dtype=np.float32)
        native().target_statistics(picture, as_mask(mask, picture.shape), out, self._workspace)
        return out if dtype == np.float32 else out.astype(dtype)

    def loss(self, image: Any, target: Any, statistics: np.ndarray | None = None, mask: Any = None) -> float:
        """The loss alone; arguments as for `loss_and_gradient`."""
        return self._run(image, target, statistics, mask, None)[0]

    def loss_and_gradient(
        self,
        image: Any,
        target: Any,
        statistics: np.ndarray | None = None,
        mask: Any = None,
        gradient: np.ndarray | None = None,
    ) -> LossAndGradient:
        """The loss and its gradient by the image.

        Args:
            image: [h, w, 3] float, the rendering; array or tensor, its autograd history is ignored.
            target: [h, w, 3] uint8, or float in [0, 1].
            statistics: `target_statistics(target, mask)`, or None to compute them on the way.
            mask: [h, w], 0 = ignore.
            gradient: [h, w, 3] float32, contiguous: overwritten and returned. A new array if None.
        """
        if gradient is None:
            gradient = np.empty(tuple(image.shape), dtype=np.float32)
        return LossAndGradient(*self._run(image, target, statistics, mask, gradient), gradient)

    def _run(
        self, image: Any, target: Any, statistics: np.ndarray | None, mask: Any, gradient: np.ndarray | None
    ) -> tuple[float, float, float]:
        x, y, m = as_pair(image, target, mask)
        if x.dtype != np.float32:
            raise DataError(f"the image has type {x.dtype}, expected float", "only the target may be 8-bit")
        if statistics is not None:
            if statistics.shape != (2, *x.shape) or statistics.dtype not in (np.float32, np.float16):
                raise DataError(
                    f"the statistics have shape {statistics.shape} and type {statistics.dtype}, "
                    f"expected {(2, *x.shape)} in float32 or float16",
                    "make them with target_statistics() from this target",
                )
            statistics = np.ascontiguousarray(statistics)
            if statistics.dtype == np.float16:  # the kernel reads the bits: the border knows no float16
                statistics = statistics.view(np.uint16)
        if gradient is not None and not (
            gradient.shape == x.shape
            and gradient.dtype == np.float32
            and gradient.flags.c_contiguous
            and gradient.flags.writeable
        ):
            raise DataError(f"the gradient must be a writable contiguous float32 array {x.shape}")
        return native().l1_ssim(x, y, statistics, m, self.lambda_, gradient, self._workspace)
