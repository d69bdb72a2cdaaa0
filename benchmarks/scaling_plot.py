"""The picture of bench_scaling.py: time over Gaussians and over megapixels, with the fitted sum. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

# Column of the rows, what stays as it is along the curve, axis label.
_PANELS = (("gaussians", "megapixels", "Gaussians"), ("megapixels", "gaussians", "megapixels"))


def draw_scaling(rows: list[dict[str, Any]], share: np.ndarray, title: str, out: Path) -> None:
    """Writes a PNG.

    Args:
        rows: As `bench_scaling.curve` gives them.
        share: Milliseconds a million pairs and a million Gaussians, the sum that is drawn beside the points.
    """
    import matplotlib

    matplotlib.use("Agg")  # no window, no display
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    for axis, (along, fixed, label) in zip(axes, _PANELS):
        for number, value in enumerate(sorted({row[fixed] for row in rows})):
            line = sorted((row for row in rows if row[fixed] == value), key=lambda row: row[along])
            if len(line) < 3:
                continue
            x = [row[along] for row in line]
            name = f"{value:g} megapixels" if fixed == "megapixels" else f"{value:,} Gaussians"
            colour = f"C{number}"
            axis.plot(x, [row["forward_backward_ms"] for row in line], "o-", color=colour, label=f"{name}, both passes")
            axis.plot(x, [row["forward_ms"] for row in line], "^-", color=colour, alpha=0.6, label="forward")
            fitted = [share @ (row["pairs_millions"], row["gaussians"] / 1e6) for row in line]
            axis.plot(x, fitted, ":", color="black", label="fitted sum")
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.grid(True, which="major", alpha=0.4)
        axis.legend()
    axes[0].set_ylabel("milliseconds a frame")
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)
    pyplot.close(figure)
