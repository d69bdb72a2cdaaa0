"""The run folder: what a training was asked to do, how it went, and where it stands.

    config.json     method, configuration, data, seed, versions; read back strictly
    metrics.jsonl   one JSON object a line: {"step": 100, "loss": 0.12, ...}
    checkpoints/    the last two, see checkpoints.py
    eval/ ...       whatever other commands add

A run belongs to the one process that trains it (`Run.locked`); any number of others may read it meanwhile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import scenerep
from scenerep import run_log
from scenerep.checkpoints import (
    Checkpoint,
    Names,
    checkpoint_files,
    read_checkpoint,
    remove_stale,
    write_checkpoint,
    write_whole,
)
from scenerep.configs import config_from_json, config_to_json
from scenerep.errors import ConfigError, DataError, FormatError
from scenerep.run_paths import default_run_path, link_latest, make_room
from scenerep.saved_scenes import arrays_of, saved_scene
from scenerep.scenes import Scene

try:
    import fcntl
except ImportError:  # Windows: no lock there
    fcntl = None

__all__ = ["Checkpoint", "Run", "RunWarning", "config_from_json", "config_to_json", "default_run_path", "link_latest"]

T = TypeVar("T")
VERSION = 1
KEEP = 2


class RunWarning(UserWarning):
    """A run is not as it should be, and work goes on all the same."""


@dataclasses.dataclass(frozen=True)
class _Header:
    """config.json."""

    version: int
    scenerep: str
    method: str
    data: str
    data_relative: str
    seed: int
    max_side: int | None
    test_every: int
    config: dict[str, Any]


class Run:
    """A run folder. Make one with `Run.create`, find one with `Run.open`.

    Attributes:
        path: The folder, absolute.
        method: Name in `registry.METHODS`.
        data: The capture's path; it is opened again with `max_side` and `test_every`.
        config: The method's configuration as JSON values; `typed_config(cls)` gives the dataclass.
        seed: Seed of all random numbers of the training.
        snapshot: While a trainer is at work it may put a function here that returns the scene as it is now, for the
            live viewer; None otherwise.
    """

    def __init__(self, path: Path, header: _Header) -> None:
        self.path = path
        self._header = header
        self.snapshot: Callable[[], Scene] | None = None

    @classmethod
    def create(
        cls,
        path: str | Path,
        method: str,
        config: Any,
        data: str | Path,
        *,
        seed: int = 0,
        max_side: int | None = None,
        test_every: int = 8,
        overwrite: bool = False,
    ) -> Run:
        """Makes the folder and writes config.json.

        Args:
            config: A configuration dataclass.
            data: Path of the capture.
            max_side: Longer side, in pixels, that pictures are reduced to; None leaves them as they are.
            test_every: Every n-th view (sorted by name) is held out.
            overwrite: Replace an earlier run in that place. Nothing but a run is ever removed.

        Raises:
            DataError: The folder holds something, or cannot be written.
        """
        path = Path(path).resolve()
        make_room(path, overwrite)
        data = Path(data).resolve()
        run = cls(
            path,
            _Header(
                version=VERSION,
                scenerep=scenerep.__version__,
                method=method,
                data=str(data),
                data_relative=os.path.relpath(data, path),
                seed=seed,
                max_side=max_side,
                test_every=test_every,
                config=config_to_json(config),
            ),
        )
        run._write_header()
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Opens an existing run (or a link to one, such as `latest`), also while it is being trained.

        Raises:
            DataError: There is no run at `path`.
            ConfigError: config.json is damaged, was edited to something impossible, or is of a later version.
        """
        given, path = path, Path(path).resolve()
        file = path / "config.json"
        if not path.exists():
            raise DataError(f"{given}: there is no such folder", "give the folder that `scenerep train` wrote")
        if not file.is_file():
            raise DataError(
                f"{given} is not a run: it has no config.json", "give the folder that `scenerep train` wrote"
            )
        try:
            header = json.loads(file.read_text("utf-8"))
        except ValueError as error:
            raise ConfigError(f"{file} is not JSON: {error}", "correct it or start a new run") from error
        version = header.get("version") if isinstance(header, dict) else None
        if isinstance(version, int) and version > VERSION:
            raise ConfigError(f"{file} is of version {version}, this scenerep reads {VERSION}", "update scenerep")
        run = cls(path, config_from_json(_Header, header, str(file)))
        remove_stale(path)
        remove_stale(path / "checkpoints")
        return run

    @property
    def method(self) -> str:
        return self._header.method

    @property
    def config(self) -> dict[str, Any]:
        return self._header.config

    @property
    def seed(self) -> int:
        return self._header.seed

    @property
    def max_side(self) -> int | None:
        return self._header.max_side

    @property
    def test_every(self) -> int:
        return self._header.test_every

    @property
    def data(self) -> Path:
        # The place seen from the run still holds when both were moved together.
        absolute, relative = Path(self._header.data), self.path / self._header.data_relative
        return relative.resolve() if not absolute.exists() and relative.exists() else absolute

    def typed_config(self, cls: type[T]) -> T:
        """The configuration as the dataclass `cls`; a ConfigError names what does not fit."""
        return config_from_json(cls, self.config, f"{self.path / 'config.json'}: config")

    def set_config(self, config: Any) -> None:
        """Replaces the configuration, on the disk too (a resumed run gets a larger budget)."""
        self._header = dataclasses.replace(self._header, config=config_to_json(config))
        self._write_header()

    def _write_header(self) -> None:
        text = json.dumps(config_to_json(self._header), indent=2) + "\n"
        write_whole(self.path / "config.json", lambda file: file.write_text(text, "utf-8"))

    # --- metrics

    def log(self, metrics: dict[str, Any]) -> None:
        """Appends one line to metrics.jsonl; see run_log.append.

        `step` stands in every line; further `loss`, `count`, `seconds`, and `psnr`, `ssim`, `views` for measurements on
        held-out views.
        """
        run_log.append(self.path / "metrics.jsonl", metrics)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; see run_log.read."""
        return run_log.read(self.path / "metrics.jsonl")

    def rewind(self, step: int) -> None:
        """Drops the metrics of later steps: call it before training on from `step`."""
        run_log.rewind(self.path / "metrics.jsonl", step)

    # --- checkpoints

    def save_checkpoint(self, step: int, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> Path:
        """Writes a checkpoint, whole or not at all, then removes all but the last two. Returns its file.

        Args:
            arrays: The scene under the names of its kind (saved_scenes.py), and whatever else training on needs
                (optimiser, random number generators).
            state: JSON values; `kind` of the scene (default: splats) and what else it consists of; `seconds` is the
                training time so far.

        Raises:
            DataError: The disk is full; the checkpoints of before are still there.
        """
        folder = self.path / "checkpoints"
        path = write_checkpoint(folder, step, arrays, state)
        for other, file in checkpoint_files(folder):
            if other > step:  # of a future that this run has left: damaged, or undone by resuming from an earlier one
                file.unlink(missing_ok=True)
        for _, file in checkpoint_files(folder)[:-KEEP]:
            file.unlink(missing_ok=True)
        return path

    def latest_checkpoint(self, names: Names = None) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if there is none at all.

        A damaged one is passed over with a RunWarning.

        Args:
            names: The arrays to read, or a function from the checkpoint's state to them; all of them by default.

        Raises:
            DataError: There are checkpoints, and all of them are damaged.
        """
        files = checkpoint_files(self.path / "checkpoints")
        faults: list[str] = []
        for _, file in reversed(files):
            try:
                found = read_checkpoint(file, names)
            except FileNotFoundError:  # the training that goes on beside us has removed it
                continue
            except FormatError as error:
                faults.append(error.message)
                continue
            for fault in faults:
                warnings.warn(f"{fault}; going back to step {found.step}", RunWarning, stacklevel=2)
            return found
        if faults:
            raise DataError("; ".join(reversed(faults)), "no checkpoint of this run is whole: train it again")
        return None

    def scene(self) -> Scene:
        """The scene of the newest whole checkpoint.

        Raises:
            DataError: Nothing was saved yet, or what was saved is no scene.
        """
        found = self.latest_checkpoint(arrays_of)
        if found is None:
            hint = f"train it on: scenerep resume {self.path}"
            raise DataError(f"{self.path}: the training has not saved a scene yet", hint)
        metadata = {"run": str(self.path), "step": found.step, "seconds": found.state.get("seconds")}
        return saved_scene(found.arrays, found.state, metadata)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process while it trains. The lock dies with the process.

        Raises:
            DataError: Another process is training this run.
        """
        if fcntl is None:
            yield
            return
        try:
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {error.strerror}", "copy the run to another place"
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DataError(
                    f"{self.path}: another process is training this run", "wait for it or stop it"
                ) from error
            yield
