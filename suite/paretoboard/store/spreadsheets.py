"""Text for CSV files that spreadsheets open, so that none of it is run as a formula (OWASP, CSV injection)."""

from __future__ import annotations

import re
from typing import Final

FORMULA: Final = r"^([=+\-@\t\r])"  # so begins what a spreadsheet takes for a formula


def disarmed(text: str) -> str:
    """The same text, with a quote before it where it could be a formula."""
    return f"'{text}" if re.match(FORMULA, text) else text
