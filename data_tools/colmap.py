"""The calls into pycolmap, on the CPU: SIFT features, matching with RANSAC verification, mapping.

Each runs in a thread of its own, reports progress and can be interrupted.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scenerep.cpus import usable_cpus
from scenerep.data_tools import pairs as pairing
from scenerep.data_tools.sfm import Effort, Progress, SfmOptions, SfmPicture, Solution, jumps
from scenerep.errors import DataError

# Measured on two cores, wall seconds of the whole reconstruction / pictures / error (see benchmarks/results/sfm.md):
# SIFT on the doubled picture (first_octave -1) costs 4 to 5 times the extraction and hardly moves the cameras where
# pictures have detail, but small pictures need it, and so does a walk along a street.
_SMALL_PICTURE_PX = 1000
_FEATURES = {"normal": (4096, 0), "thorough": (8192, -1)}  # most features a picture, first octave


def quiet_pycolmap() -> None:
    """Loads pycolmap without its manners: it takes SIGTERM for a crash, and logs what it also returns or raises.

    Call it in the main thread before the first use, else the signal handler stays.
    """
    handler = signal.getsignal(signal.SIGTERM)
    import pycolmap

    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGTERM, handler)  # Python's own record still says so, but glog's is installed below it
    pycolmap.logging.minloglevel = int(pycolmap.logging.FATAL.value)


class ColmapJob:
    """The intermediate files of one reconstruction, and the steps on them. Features and matches are kept for reuse.

    Args:
        pictures: Picture i gets COLMAP's image id i + 1.
        work: An existing folder for intermediate files.
        options: How.
        progress: Called as progress(stage, done, total).
    """

    def __init__(self, pictures: Sequence[SfmPicture], work: Path, options: SfmOptions, progress: Progress) -> None:
        self.pictures, self.work, self.options, self.progress = pictures, work, options, progress
        self.threads = options.threads or usable_cpus()
        self.seconds: dict[str, float] = {}
        self.images = work / "colmap_images"
        self.masks = work / "colmap_masks"
        self.names = [f"{i:06d}{picture.path.suffix.lower()}" for i, picture in enumerate(pictures)]
        self.pairs: dict[str, tuple[str, list[pairing.Pair]]] = {}
        self._collect()

    def _collect(self) -> None:
        """Links the pictures under plain names: COLMAP's lists cannot hold names with blanks."""
        self.images.mkdir(exist_ok=True)
        for picture, name in zip(self.pictures, self.names, strict=True):
            _link(picture.path, self.images / name)
            if picture.mask:
                self.masks.mkdir(exist_ok=True)
                _link(picture.mask, self.masks / f"{name}.png")

    def run(self, effort: Effort, name: str) -> Solution | None:
        """One attempt: the largest model, or None. `name` is that of a new folder in `work`.

        Raises:
            DataError: COLMAP refuses the pictures.
        """
        features = self.work / f"{effort.features}.db"
        if not features.exists():
            self._timed("features", lambda: self._extract(features, effort))
            self._timed("matches", lambda: self._match(features, effort))
        database = features
        if effort.only is not None:
            database = self.work / f"{effort.features}-{effort.label}.db"
            shutil.copyfile(features, database)
            _forget_matches(database)
            self._timed("matches", lambda: self._match(database, effort))
        models = self._timed("cameras", lambda: self._map(database, effort, self.work / name))
        if not models:
            return None
        models = sorted(models, key=lambda model: (-model.num_reg_images(), -model.num_points3D()))
        kind, pairs = self.pairs[database.stem]
        images = {i - 1: i for i in sorted(models[0].reg_image_ids())}
        return Solution(
            reconstruction=models[0],
            images=images,
            jumps=jumps(models[0], images),
            models=[model.num_reg_images() for model in models],
            pairs=len(pairs),
            matching=kind,
            features=effort.features,
            attempts=1,
        )

    def _timed(self, stage: str, work: Callable[[], Any]) -> Any:
        start = time.monotonic()
        result = work()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start
        return result

    def _extract(self, database: Path, effort: Effort) -> None:
        import pycolmap

        self._write_pictures(database)
        most, octave = _FEATURES[effort.features]
        longest = max(max(picture.width, picture.height) for picture in self.pictures)
        extraction = pycolmap.FeatureExtractionOptions()
        extraction.num_threads = self.threads
        extraction.use_gpu = False
        extraction.max_image_size = longest
        extraction.sift.max_num_features = most
        extraction.sift.first_octave = -1 if longest < _SMALL_PICTURE_PX else octave
        reader = pycolmap.ImageReaderOptions()
        if self.masks.exists():
            reader.mask_path = str(self.masks)

        def extract(token: Any) -> None:
            pycolmap.extract_features(
                database_path=str(database),
                image_path=str(self.images),
                image_names=self.names,
                reader_options=reader,
                extraction_options=extraction,
                device=pycolmap.Device.cpu,
                cancellation_token=token,
            )

        count = len(self.pictures)
        # Only COLMAP's own connections may look: a second copy of SQLite in this process (Python's) would drop its
        # locks and tear down its shared memory. Its write-ahead log lets a reader look while it writes.
        with pycolmap.Database.open(str(database)) as db:
            self._watched(extract, "features", count, lambda: sum(db.exists_keypoints(i + 1) for i in range(count)))

    def _write_pictures(self, database: Path) -> None:
        """Cameras and pictures as we know them, so that COLMAP does not group or guess. Picture i gets id i + 1."""
        import pycolmap

        with pycolmap.Database.open(str(database)) as db:
            lenses: dict[str, Any] = {}
            for i, (picture, name) in enumerate(zip(self.pictures, self.names, strict=True), start=1):
                if picture.lens not in lenses:
                    # 1.2 x the longer side (a 45 degree lens) is COLMAP's own guess; bundle adjustment refines it.
                    focal = picture.focal_px or 1.2 * max(picture.width, picture.height)
                    camera = pycolmap.Camera.create_from_model_name(
                        len(lenses) + 1, self.options.lens.upper(), focal, picture.width, picture.height
                    )
                    camera.has_prior_focal_length = picture.focal_px is not None
                    db.write_camera(camera, use_camera_id=True)
                    rig = pycolmap.Rig(rig_id=camera.camera_id)
                    rig.add_ref_sensor(camera.sensor_id)
                    db.write_rig(rig, use_rig_id=True)
                    lenses[picture.lens] = camera
                camera = lenses[picture.lens]
                if (camera.width, camera.height) != (picture.width, picture.height):
                    raise DataError(f"{picture.path}: shares a camera with a picture of another size")
                image = pycolmap.Image(name=name, camera_id=camera.camera_id, image_id=i)
                db.write_image(image, use_image_id=True)
                frame = pycolmap.Frame(frame_id=i, rig_id=camera.camera_id)
                frame.add_data_id(image.data_id)
                db.write_frame(frame, use_frame_id=True)

    def _match(self, database: Path, effort: Effort) -> None:
        import pycolmap

        kind, pairs = self._choose_pairs(database) if effort.only is None else (effort.label, list(effort.only))
        self.pairs[database.stem] = (kind, pairs)
        pair_list = database.with_suffix(".pairs.txt")
        pair_list.write_text("".join(f"{self.names[i]} {self.names[j]}\n" for i, j in pairs))
        matching = pycolmap.FeatureMatchingOptions()
        matching.num_threads = self.threads
        matching.use_gpu = False
        verification = pycolmap.TwoViewGeometryOptions()
        verification.ransac.random_seed = self.options.seed
        # COLMAP writes its results block by block; small blocks make the progress move.
        listed = pycolmap.ImportedPairingOptions(match_list_path=str(pair_list), block_size=100)

        def match(token: Any) -> None:
            pycolmap.match_image_pairs(
                database_path=str(database),
                matching_options=matching,
                pairing_options=listed,
                verification_options=verification,
                device=pycolmap.Device.cpu,
                cancellation_token=token,
            )

        with pycolmap.Database.open(str(database)) as db:
            self._watched(match, "matches", len(pairs), db.num_matched_image_pairs)

    def _choose_pairs(self, database: Path) -> tuple[str, list[pairing.Pair]]:
        """The pairs, and what the way to choose them is called in the report."""
        count = len(self.pictures)
        kind = self.options.matching
        if kind == "exhaustive" or (kind == "auto" and count <= pairing.EXHAUSTIVE_LIMIT):
            return "exhaustive", pairing.exhaustive(count)
        if kind == "sequential":
            return "sequential", pairing.sequential(count)
        # Look-alikes close the loops of a video, and find the neighbours of photographs in any order; names that
        # follow each other often are pictures that do.
        pairs = {*pairing.sequential(count, 10 if self.options.ordered else 3)}
        pairs.update(pairing.near_on_map([picture.gps for picture in self.pictures]))
        pairs.update(pairing.look_alikes(self._descriptors(database), 10 if self.options.ordered else 25))
        return "sequential+retrieval" if self.options.ordered else "retrieval", sorted(pairs)

    def _descriptors(self, database: Path) -> list[Any]:
        import pycolmap

        with pycolmap.Database.open(str(database)) as db:
            # COLMAP stores SIFT features from the finest scale on; the coarse ones are the stable ones.
            return [db.read_descriptors(i + 1).data[::-1] for i in range(len(self.pictures))]

    def _map(self, database: Path, effort: Effort, out: Path) -> list[Any]:
        import pycolmap

        out.mkdir()
        total = len(self.pictures)
        placed = 0

        def count_one() -> None:
            nonlocal placed
            placed = min(total, placed + 1)

        def run(token: Any) -> list[Any]:
            if self.options.mapper == "global":
                options: Any = pycolmap.GlobalPipelineOptions()
                options.num_threads, options.random_seed = 1, self.options.seed
                found = pycolmap.global_mapping(str(database), str(self.images), str(out), options)
            else:
                options = _incremental_options(effort, self.options.seed)
                if effort.patient and effort.only is None and all(picture.focal_px for picture in self.pictures):
                    # Walking straight on does not tell the focal length: in a street (lund_street), 735 and 990 px
                    # fit equally well. EXIF says 995.
                    options.ba_refine_focal_length = options.mapper.abs_pose_refine_focal_length = False
                found = pycolmap.incremental_mapping(
                    str(database),
                    str(self.images),
                    str(out),
                    options,
                    next_image_callback=count_one,
                    cancellation_token=token,
                )
            return list(found.values())

        return self._watched(run, "cameras", total, lambda: placed)

    def _watched(self, work: Callable[[Any], Any], stage: str, total: int, done: Callable[[], int]) -> Any:
        """Runs a call into COLMAP in a thread of its own, so that this one can report progress and be interrupted."""
        import pycolmap

        token = pycolmap.CancellationToken()
        outcome: dict[str, Any] = {}

        def run() -> None:
            try:
                outcome["result"] = work(token)
            except Exception as error:
                outcome["error"] = error

        thread = threading.Thread(target=run, name=f"colmap-{stage}", daemon=True)
        self.progress(stage, 0, total)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.25)
                self.progress(stage, min(done(), total - 1), total)
        except BaseException:
            token.cancel()
            thread.join(30)  # it looks at the token between two pictures
            raise
        if "error" in outcome:
            error = outcome["error"]
            raise DataError(f"COLMAP failed while computing {stage}: {error}", "try other pictures") from error
        self.progress(stage, total, total)
        return outcome["result"]


def _forget_matches(database: Path) -> None:
    import pycolmap

    with pycolmap.Database.open(str(database)) as db:
        db.clear_matches()
        db.clear_two_view_geometries()


def _incremental_options(effort: Effort, seed: int) -> Any:
    import pycolmap

    options = pycolmap.IncrementalPipelineOptions()
    # With two threads the sums of bundle adjustment change their order, and two runs differ; it gains only a fifth.
    options.num_threads, options.random_seed = 1, seed
    options.min_model_size = 3
    if effort.patient:
        # A walk straight on has little parallax: COLMAP's first pair needs 16 degrees and no forward motion.
        options.mapper.init_max_forward_motion = 1.0
        options.mapper.init_min_tri_angle = 4.0
        options.mapper.abs_pose_min_num_inliers = 15
    return options


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.absolute())
    except OSError:  # file systems and systems without symbolic links
        shutil.copyfile(source, target)
