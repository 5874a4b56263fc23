"""How `make viewers` tells what viewers take from a drain."""

import pytest

from benchmarks.viewers import Span, compared


def drain(*rates: float, watched: bool) -> list[Span]:
    """Spans of which every other one was watched, the first one if `watched`."""
    return [Span(bool(n % 2) != watched, rate) for n, rate in enumerate(rates)]


def test_a_span_is_compared_with_those_around_it_whichever_was_watched() -> None:
    assert compared(drain(100, 90, 100, 90, watched=False)) == pytest.approx([10.0, 10.0])
    assert compared(drain(90, 100, 90, watched=True)) == pytest.approx([10.0])


def test_what_slows_all_alike_cancels_out() -> None:
    slowing = drain(100, 90 * 0.9, 80, 70 * 0.9, 60, watched=False)
    assert compared(slowing) == pytest.approx([10.0, 10.0, 10.0])


def test_a_drain_that_was_over_too_soon_says_nothing() -> None:
    assert compared(drain(100, 90, watched=True)) == []
