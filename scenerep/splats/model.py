"""The Gaussians while they are trained: parameters, Adam's moments and refinement statistics, with room for the budget.

Arrays have `capacity` rows, of which the first `count` are in use, so that growing copies nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from scenerep.scenes import Gaussians

NAMES = ("means", "log_scales", "quats", "opacity_logits", "sh")


class Model:
    """Parameters by name in `all`, moments in `first` and `second`; `params` etc. show the rows in use.

    Args:
        scene: The start; its SH degree is the model's.
        capacity: Rows to make room for; at least len(scene).
    """

    def __init__(self, scene: Gaussians, capacity: int) -> None:
        self.capacity = max(capacity, len(scene))
        self.count = len(scene)
        self.all: dict[str, np.ndarray] = {}
        for name, array in scene.arrays().items():
            room = np.zeros((self.capacity, *array.shape[1:]), dtype=np.float32)
            room[: self.count] = array
            self.all[name] = room
        self.first = {name: np.zeros_like(a) for name, a in self.all.items()}
        self.second = {name: np.zeros_like(a) for name, a in self.all.items()}
        # Sums since the last refinement: length of the screen gradient, and how often the Gaussian was in view.
        self.screen_norm = np.zeros(self.capacity, dtype=np.float32)
        self.screen_count = np.zeros(self.capacity, dtype=np.float32)

    @property
    def params(self) -> dict[str, np.ndarray]:
        """Views of the rows in use."""
        return {name: a[: self.count] for name, a in self.all.items()}

    @property
    def opacities(self) -> np.ndarray:
        """[count] in [0, 1]."""
        return expit(self.all["opacity_logits"][: self.count])

    def scene(self, *, antialiased: bool = False, copy: bool = True) -> Gaussians:
        """The scene as it stands."""
        return scene_of({name: a.copy() if copy else a for name, a in self.params.items()}, antialiased)

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Copies of the parameters of some rows."""
        return {name: a[rows] for name, a in self.all.items()}

    def write(self, rows: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Replaces parameters of rows (in use or just after them) and forgets their moments.

        Adam's bias correction counts all steps, so an empty second moment makes the next steps about five times as
        long. That is wanted: with the parents' moments, which remember the large gradients of the start, the same
        training ended 4 dB lower (fox, 3000 steps).
        """
        for name, value in values.items():
            self.all[name][rows] = value
            self.first[name][rows] = 0
            self.second[name][rows] = 0

    def append(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Adds rows; all parameters must be given. Returns their indices."""
        rows = np.arange(self.count, self.count + len(values["means"]))
        if rows.size and rows[-1] >= self.capacity:
            self._grow(int(1.5 * (rows[-1] + 1)))
        self.write(rows, values)
        self.count += len(rows)
        return rows

    def _grow(self, capacity: int) -> None:
        for group in (self.all, self.first, self.second):
            for name, old in group.items():
                room = np.zeros((capacity, *old.shape[1:]), dtype=np.float32)
                room[: self.count] = old[: self.count]
                group[name] = room
        self.screen_norm = np.concatenate([self.screen_norm, np.zeros(capacity - self.capacity, np.float32)])
        self.screen_count = np.concatenate([self.screen_count, np.zeros(capacity - self.capacity, np.float32)])
        self.capacity = capacity

    def remove(self, gone: np.ndarray) -> None:
        """Removes rows given by a boolean mask [count]; the others keep their order."""
        keep = np.flatnonzero(~gone)
        for group in (self.all, self.first, self.second):
            for a in group.values():
                a[: len(keep)] = a[keep]
        self.count = len(keep)

    def forget_statistics(self) -> None:
        self.screen_norm[:] = 0
        self.screen_count[:] = 0

    def state(self) -> dict[str, np.ndarray]:
        """Everything that training on needs, by name; scene arrays under their own names."""
        n = self.count
        out = dict(self.params)
        for prefix, group in (("first", self.first), ("second", self.second)):
            out |= {f"{prefix}.{name}": a[:n] for name, a in group.items()}
        out["screen_norm"], out["screen_count"] = self.screen_norm[:n], self.screen_count[:n]
        return out

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], capacity: int) -> Model:
        """The inverse of `state`."""
        model = cls(scene_of(arrays), capacity)
        n = model.count
        for prefix, group in (("first", model.first), ("second", model.second)):
            for name, a in group.items():
                a[:n] = arrays[f"{prefix}.{name}"]
        model.screen_norm[:n], model.screen_count[:n] = arrays["screen_norm"], arrays["screen_count"]
        return model


def scene_of(arrays: dict[str, np.ndarray], antialiased: bool = False) -> Gaussians:
    """A scene of the arrays with its names; others are passed over."""
    means, log_scales, quats, opacity_logits, sh = (arrays[name] for name in NAMES)
    return Gaussians(means, log_scales, quats, opacity_logits, sh, antialiased)
