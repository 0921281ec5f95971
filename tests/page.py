# SPDX-License-Identifier: GPL-2.0
"""Tables in pages of the documentation that a command makes."""

BEGIN = ".. The table is made by the command above; what stands here by hand is lost."
END = ".. End of the table."


def put_table(lines, path):
    """Puts a table into a page, in place of the one there."""
    with open(path, encoding="utf-8") as file:
        head, begin, rest = file.read().partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} has no place for the table: '{BEGIN}' to '{END}'")
    text = "\n".join([begin, "", *lines, "", end])
    with open(path, "w", encoding="utf-8") as file:
        file.write(head + text + tail)
