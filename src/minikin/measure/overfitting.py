"""Whether a training began to learn its data by heart: its held-out loss rises again."""

from collections.abc import Sequence

from minikin.measure.records import CurvePoint

_RISE = 1.02  # smaller rises are within what one reading differs from the next


def parted(curve: Sequence[CurvePoint]) -> list[str]:
    """A sentence for each task whose held-out loss ends more than 2 % above its lowest reading."""
    return [told for task in (curve[-1].held_out if curve else ()) if (told := _told(task, curve))]


def _told(task: str, curve: Sequence[CurvePoint]) -> str:
    lowest = min(curve, key=lambda point: point.held_out[task])
    least, last = lowest.held_out[task], curve[-1].held_out[task]
    if last <= _RISE * least:
        return ""
    return f"{task}: held-out loss rose from {least:.2f} at {_tokens(lowest.tokens)} tokens to {last:.2f}"


def _tokens(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"
