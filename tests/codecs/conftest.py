"""The picture that most tests of codecs take."""

from __future__ import annotations

import numpy as np
import pytest
from codec_pictures import photograph


@pytest.fixture
def picture() -> np.ndarray:
    return photograph(96, 120)
