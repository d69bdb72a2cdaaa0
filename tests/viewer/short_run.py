"""A run for tests of what comes after the training."""

from __future__ import annotations

from pathlib import Path

from scenerep.cli.main import main


def train_briefly(data: Path, run: Path, *, steps: int, most: int) -> None:
    """`scenerep train splats` of so few steps that the scene is a blur of at most so many Gaussians."""
    options = {"--data": data, "--out": run, "--steps": steps, "--max-gaussians": most}
    assert main(["train", "splats", *(str(word) for pair in options.items() for word in pair)]) == 0
