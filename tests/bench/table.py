#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The table of what tests/bench/guest.py has measured.

    table.py [--save] RESULTS

It is printed; with --save it takes the place of the one in
Documentation/performance.rst.
"""

import json
import os
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tests"))

from page import put_table  # noqa: E402


def cells(row, ways):
    """A load: how fast the bare ext4 is, and the share of that which the others reach."""
    shares = [f"{100 * row[way]['share']:.0f} % "
              f"({100 * row[way]['least']:.0f} to {100 * row[way]['most']:.0f})" for way in ways]
    return [row["load"], f"{row['bare']:.0f}", *shares]


def simple_table(rows):
    """A simple table of reStructuredText, which reads well as it is."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    rule = " ".join("=" * width for width in widths)
    lines = [" ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in rows]
    return [rule, lines[0], rule, *lines[1:], rule]


def main():
    """See above."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--save"]
    if len(arguments) != 1:
        sys.exit(__doc__.strip())
    with open(arguments[0], encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    if not rows:
        sys.exit(f"{arguments[0]}: nothing was measured")
    ways = [key for key in rows[0] if key not in ("load", "bare")]
    lines = simple_table([("Load", "bare, a second", *ways), *(cells(row, ways) for row in rows)])
    print("\n".join(lines))
    if "--save" in sys.argv:
        put_table(lines, os.path.join(REPO, "Documentation/performance.rst"))


main()
