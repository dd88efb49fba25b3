"""Which words of an output are not the reference's: the runs that a longest-match comparison leaves over."""

import re
from difflib import SequenceMatcher
from itertools import groupby


def marked(output: str, reference: str) -> list[tuple[str, bool]]:
    """The output in runs, each with whether its words differ; joined, they are the output again."""
    pieces = re.findall(r"\s+|\S+", output)
    places = [place for place, piece in enumerate(pieces) if not piece.isspace()]
    matcher = SequenceMatcher(None, [pieces[place] for place in places], reference.split(), autojunk=False)
    same = {places[block.a + step] for block in matcher.get_matching_blocks() for step in range(block.size)}
    differs = [place not in same and not piece.isspace() for place, piece in enumerate(pieces)]
    for place in range(1, len(pieces) - 1):  # the space between two marked words belongs to their run
        if pieces[place].isspace():
            differs[place] = differs[place - 1] and differs[place + 1]
    runs = groupby(zip(pieces, differs, strict=True), key=lambda each: each[1])
    return [("".join(piece for piece, _ in run), differing) for differing, run in runs]
