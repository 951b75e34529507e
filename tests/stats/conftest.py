from collections.abc import Iterator
from pathlib import Path

import pytest

from nh.stats import Segment, create_segment, segment_name


@pytest.fixture
def name(tmp_path: Path) -> str:
    return segment_name(tmp_path)


@pytest.fixture
def segment(name: str) -> Iterator[Segment]:
    made = create_segment(name, shards=3)
    yield made
    made.unlink()
    made.close()
