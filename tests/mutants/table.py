# SPDX-License-Identifier: GPL-2.0
"""The table of mutants, for people: in a terminal and in the documentation."""

import textwrap


def catch_of(race):
    """A race of a row in words: what caught the bug by it, or that it did not."""
    times = "" if race["caught"] == race["tries"] else f", {race['caught']} of {race['tries']}"
    if not race["caught"]:
        return f"not by {race['race']}"
    return f"{race['by'].partition(': ')[0] if race['by'].startswith('test ') else race['by']} " \
           f"({race['seconds']} s{times})"


def seconds_of(row):
    """How fast, or that it was not at all."""
    if row["caught"] < row["seeds"] or not row["seeds"]:
        return f"SURVIVED {row['seeds'] - row['caught']} of {row['seeds']}"
    return f"{row['seconds']} s"


def show(rows):
    """The table in a terminal."""
    lines = [f"{'mutant':34} {'kernel':6} {'breaks':8} {'seconds':>10}  caught by"]
    for row in rows:
        catches = [catch_of(race) for race in row["races"]] or ["nothing was run"]
        lines.append(f"{row['mutant']:34} {row['kernel']:6} {','.join(row['breaks']):8} "
                     f"{seconds_of(row):>10}  {catches[0][:90]}")
        lines += [" " * 63 + catch[:90] for catch in catches[1:]]
    return "\n".join(lines)


def literal(text):
    """Text of a program, so that no character of it is markup."""
    return "``" + text.replace("`", "'") + "``"


def list_table(rows):
    """The table in reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 22 30 7 8 25 8", ""]
    cells = ["Mutant", "Bug", "Breaks", "Kernel", "Caught by", "Seconds"]
    for row in [cells, *map(cells_of, rows)]:
        for i, cell in enumerate(row):
            first, *rest = textwrap.wrap(cell, 70, break_long_words=False,
                                         break_on_hyphens=False) or [""]
            lines.append(f"   {'*' if i == 0 else ' '} - {first}")
            lines += [" " * 7 + line for line in rest]
    return lines


def cells_of(row):
    """The cells of a row in reStructuredText."""
    catches = "; ".join(literal(catch_of(race)) for race in row["races"])
    return [literal(row["mutant"]), row["bug"], ", ".join(row["breaks"]), row["kernel"], catches,
            seconds_of(row).removesuffix(" s")]
