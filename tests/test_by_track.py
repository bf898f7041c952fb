"""
Rows of numbers by track: as they came or in order, however many of them wait in the temporary file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fgtrace._formats import rows_by_track as _by_track
from fgtrace._formats.rows_by_track import RowsByTrack

pytestmark = pytest.mark.pure

rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(-3, 9), st.integers(-(2**63), 2**63 - 1)), max_size=80
)


@contextmanager
def kept(found: list[tuple[int, int, int]], *, most: int, block: int, sort: bool) -> Iterator[RowsByTrack]:
    """
    Rows of three tracks, of which so many numbers wait in memory.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_by_track, "MOST_WAITING", most)
        patch.setattr(_by_track, "CHUNK", block)
        patch.setattr(_by_track, "FEWEST", 1)
        by_track = RowsByTrack(2, sort=sort)
        try:
            for track, *numbers in found:
                by_track.rows(track).extend(numbers)
                by_track.note_grown(1)
            by_track.settle()
            yield by_track
        finally:
            by_track.close()


@given(rows, st.integers(1, 60), st.integers(1, 9))
def test_in_order(found: list[tuple[int, int, int]], most: int, block: int) -> None:
    """
    Rows that are to be sorted come back in order, as often as they are asked for.
    """
    with kept(found, most=most, block=block, sort=True) as by_track:
        for track in (0, 1, 2, 0):
            merged = [row for batch in by_track.merged(track) for row in batch]
            assert merged == sorted((one, other) for number, one, other in found if number == track)


@given(rows, st.integers(1, 60), st.integers(1, 9))
def test_as_they_came(found: list[tuple[int, int, int]], most: int, block: int) -> None:
    """
    Other rows come back in the order in which they came, in blocks of a bounded length.
    """
    with kept(found, most=most, block=block, sort=False) as by_track:
        for track in (0, 1, 2):
            wanted = [(one, other) for number, one, other in found if number == track]
            assert list(by_track.each(track)) == wanted
            assert all(0 < len(numbers) <= 2 * block for numbers in by_track.blocks(track))
