"""What every compressor is given, what it yields, and how it is interrupted and taken up again. No torch.

A compressor is a generator of events over a Job, as a trainer is one over a Run: `compress(job, config)` prints
nothing, yields progress, and ends with one `Compressed` that holds the whole file. Closing it saves, if the job has a
folder; called again with the same job it goes on from there.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scenerep.checkpoints import Checkpoint, checkpoint_files, read_checkpoint, write_checkpoint, write_whole
from scenerep.errors import ConfigError
from scenerep.scenes import Gaussians

if TYPE_CHECKING:
    from scenerep.compress.views import Views

Quality = Literal["low", "medium", "high", "near-lossless"]


@dataclass(frozen=True)
class Goal:
    """How far to go; exactly one is set.

    lambda_: Rise of the mean squared error (of values 0 to 255) that a saving of a million bits is worth.
    size: Bytes of the file: within 2 % of them, never above.
    loss: PSNR [dB] that may be lost.
    quality: A preset.
    """

    lambda_: float | None = None
    size: int | None = None
    loss: float | None = None
    quality: Quality | None = None

    def __post_init__(self) -> None:
        given = [(name, value) for name, value in vars(self).items() if value is not None]
        if len(given) != 1:
            names = ", ".join(name.strip("_") for name, _ in given) or "none"
            raise ConfigError(f"one goal is needed, {names} given", "give one of lambda, target size, loss or quality")
        name, value = given[0]
        if name != "quality" and not value > 0:  # nan too
            raise ConfigError(f"the goal {name.strip('_')} is {value}", "give a positive number")


@dataclass
class Job:
    """One scene to be compressed.

    scene: As trained.
    views: Pictures to compare with: photographs of the training views, or renders of the scene itself.
    held_out: Photographs that nothing is trained on, to measure a loss by; None where there are none.
    goal: How far to go.
    seconds: Time that the work may take, without loading the pictures.
    steps: Optimiser steps instead of a time; the same steps and seed give the same bytes.
    folder: Where to save; None: nothing can be taken up again.
    """

    scene: Gaussians
    views: Views
    goal: Goal
    held_out: Views | None = None
    seconds: float = 180.0
    steps: int | None = None
    seed: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    def open_folder(self, identity: dict[str, Any]) -> None:
        """Makes the folder; what another job (`identity`, JSON values) has left there is removed."""
        if self.folder is None:
            return
        text = json.dumps(identity, indent=1, sort_keys=True)
        note = self.folder / "job.json"
        if not note.is_file() or note.read_text("utf-8") != text:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_whole(note, lambda file: file.write_text(text, "utf-8"))

    def save(self, step: int, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> Path | None:
        """Keeps what going on needs; the checkpoint of before is removed."""
        if self.folder is None:
            return None
        path = write_checkpoint(self.folder, step, arrays, state)
        for _, file in checkpoint_files(self.folder):
            if file != path:
                file.unlink(missing_ok=True)
        return path

    def saved(self) -> Checkpoint | None:
        """What `save` kept, or None."""
        files = [] if self.folder is None else checkpoint_files(self.folder)
        return read_checkpoint(files[-1][1]) if files else None

    def clear(self) -> None:
        """Removes the folder: the work is done."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
