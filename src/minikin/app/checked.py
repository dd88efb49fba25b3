"""What the checks of a member found, as a table: what runs where."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from minikin.ship.check import Check

_SIGNS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "not checked": ("–", "yellow")}


def check_table(member: Path, made: Sequence[Check]) -> Table:
    """A row a check."""
    table = Table("where", "what", "", "found", title=f"{member}: what runs where", title_justify="left")
    before = ""
    for check in made:
        if before and check.where != before:
            table.add_section()
        sign, color = _SIGNS[check.verdict]
        table.add_row(
            "" if check.where == before else check.where, check.what, Text(sign, style=color), Text(check.found)
        )
        before = check.where
    return table
