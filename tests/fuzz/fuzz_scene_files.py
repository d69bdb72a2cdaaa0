"""Coverage-guided fuzzing of everything that reads scene files; not collected by pytest.

    pip install atheris
    python tests/fuzz/fuzz_scene_files.py CORPUS/ -max_total_time=600

CORPUS is a folder of small scene files of any format (tests/coding/golden.srz is one); new finds are added to it. Any
exception but FormatError, a hang of five seconds, or more than 1 GB is reported and the input saved.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["scenerep"]):
    from scenerep.errors import FormatError
    from scenerep.formats import FORMATS
    from scenerep.io import detect


def read_one(data: bytes) -> None:
    try:
        name = detect(data, "fuzz")
        if name in FORMATS:
            FORMATS[name].load_reader().read(data, "fuzz")
    except FormatError:
        return


if __name__ == "__main__":
    atheris.Setup([*sys.argv, "-timeout=5", "-rss_limit_mb=1024"], read_one)
    atheris.Fuzz()
