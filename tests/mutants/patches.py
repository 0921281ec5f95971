#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The patches that put one bug each into the module, and what their heads say.

    patches.py [--only NAME...] [--subset NAME]

prints a line for each mutant that is chosen and each kernel that it runs on:
name, kernel, and the seconds that a guest is given for it.
"""

import argparse
import dataclasses
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Setting up, mounting, checking and the bounds of single tests come on top of a race.
AROUND_A_RACE = 150
FIELDS = {"Bug": True, "Breaks": True, "Caught-by": True, "Kernel": True, "Budget": True,
          "Seen-by": False, "Subset": False}
# Who can see a bug, by what the words for it begin with.
WITNESSES = {"suite": ("test ", "diofs-suite "), "diorace": ("diorace ",), "kernel": ("kernel: ",)}
PROMISES = {f"C{number}" for number in range(1, 13)}


class HeadError(Exception):
    """A head that says something wrong, or not enough."""


@dataclasses.dataclass(frozen=True)
class Race:
    """What should see a bug: a test of diofs-suite (all of them, if it has no name) or a scenario
    of diorace, on a lower."""
    kind: str
    lower: str
    names: tuple

    def __str__(self):
        return " ".join((self.kind, self.lower, *self.names))


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A patch, by what its head says."""
    name: str
    bug: str
    breaks: tuple
    races: tuple
    kernels: tuple
    budget: int
    seen_by: tuple
    subset: str

    def guest_seconds(self):
        """How long a guest may take for all races of one seed."""
        return sum(self.budget + AROUND_A_RACE for _ in self.races)


def fields_of(text):
    """The fields of a head, each with its values; indented lines continue a value."""
    found = {}
    values = None
    for line in text.splitlines():
        if line.startswith("diff --git "):
            break
        name, colon, value = line.partition(":")
        if line[:1].isspace() and values:
            values[-1] += " " + line.strip()
        elif colon and name in FIELDS:
            values = found.setdefault(name, [])
            values.append(value.strip())
        elif line.strip():
            raise HeadError(f"'{line}' is no field (those are {', '.join(FIELDS)})")
    for name in (name for name, needed in FIELDS.items() if needed and name not in found):
        raise HeadError(f"the field {name}: is missing")
    return found


def race_of(value):
    """`suite LOWER TEST` or `diorace LOWER SCENARIO`."""
    kind, lower, *names = value.split()
    if kind not in ("suite", "diorace") or len(names) != 1:
        raise HeadError(f"'Caught-by: {value}' should be 'suite LOWER TEST' or "
                        "'diorace LOWER SCENARIO'")
    return Race(kind, lower, tuple(names))


def parse(name, text):
    """The mutant that a patch makes."""
    fields = fields_of(text)
    breaks = tuple(re.split(r"[,\s]+", fields["Breaks"][0]))
    if not PROMISES.issuperset(breaks):
        raise HeadError(f"'Breaks: {fields['Breaks'][0]}' should name promises, C1 to C12")
    kernels = tuple(fields["Kernel"][0].split())
    if not {"stock", "debug"}.issuperset(kernels):
        raise HeadError(f"'Kernel: {fields['Kernel'][0]}' should be stock, debug or both")
    seen_by = tuple(fields.get("Seen-by", [""])[0].split())
    if not set(WITNESSES).issuperset(seen_by):
        raise HeadError(f"'Seen-by: {fields['Seen-by'][0]}' should be of {', '.join(WITNESSES)}")
    return Mutant(name, fields["Bug"][0], breaks, tuple(map(race_of, fields["Caught-by"])),
                  kernels, int(fields["Budget"][0]), seen_by, fields.get("Subset", [""])[0])


def load(name):
    """Reads one patch."""
    with open(os.path.join(HERE, name + ".patch"), encoding="utf-8") as file:
        try:
            return parse(name, file.read())
        except (HeadError, ValueError) as error:
            raise HeadError(f"tests/mutants/{name}.patch: {error}") from None


def all_names():
    """Every mutant there is."""
    return sorted(entry[:-len(".patch")] for entry in os.listdir(HERE) if entry.endswith(".patch"))


def chosen(only, subset):
    """The mutants to run."""
    unknown = set(only) - set(all_names())
    if unknown:
        raise HeadError(f"there is no mutant {', '.join(sorted(unknown))}; "
                        f"there are {', '.join(all_names())}")
    mutants = [load(name) for name in only or all_names()]
    unbroken = PROMISES.difference(*(mutant.breaks for mutant in mutants))
    if unbroken and not only:
        raise HeadError(f"no mutant breaks {', '.join(sorted(unbroken))}")
    mutants = [mutant for mutant in mutants if not subset or mutant.subset == subset]
    if not mutants:
        raise HeadError(f"no mutant is in the subset '{subset}'")
    return mutants


def main():
    """Prints what is chosen."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--subset", default="")
    arguments = parser.parse_args()
    try:
        for mutant in chosen(arguments.only, arguments.subset):
            for kernel in mutant.kernels:
                print(mutant.name, kernel, mutant.guest_seconds())
    except HeadError as error:
        sys.exit(f"mutants: {error}")


if __name__ == "__main__":
    main()
