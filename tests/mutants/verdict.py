#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the guests of a mutant have shown.

    verdict.py seed DIRECTORY STATUS NAME    one guest: what caught the bug, or nothing
    verdict.py table [--save] NAME/KERNEL...  all guests of these mutants, as a table

DIRECTORY is what scripts/vm left of a guest and STATUS its exit status. The exit
status of `seed` is 0 if the bug was caught by all that was to catch it, 4 if only
by some of it, 5 if by nothing, and 3 if that cannot be said: a race could not be
run, or the guest ended in one and the kernel has not said why. 1 is an error of
this program, and says nothing.
"""

import json
import os
import re
import statistics
import subprocess
import sys

import patches
from table import list_table, show

REPO = os.path.dirname(os.path.dirname(patches.HERE))
sys.path.insert(0, os.path.join(REPO, "tests"))
from page import put_table  # noqa: E402

OUT = os.path.join(REPO, "out/mutants")
STAMP = re.compile(r"^\[\s*(\d+\.\d+)\]")
HOW_GUESTS_END = {124: "the guest was stopped, out of time", 126: "the guest died"}


def klog_intervals(path):
    """The parts of a kernel log that belong to a race: race, its lines."""
    intervals, current = [], None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            mark = re.search(r"mutants: (begin|end) (.*)", line)
            if mark and mark[1] == "begin":
                current = (mark[2].strip(), [line])
                intervals.append(current)
            elif mark:
                current = None
            elif current:
                current[1].append(line)
    return intervals


def complaint(lines, scratch):
    """The first thing in a part of a kernel log that a healthy kernel does not say."""
    with open(scratch, "w", encoding="utf-8") as file:
        file.writelines(lines)
    scan = subprocess.run([os.path.join(REPO, "scripts/klog-scan"), scratch],
                          stderr=subprocess.PIPE, text=True, check=False)
    if scan.returncode == 0:
        return None
    first = scan.stderr.splitlines()[1].removeprefix("    | ")
    return "kernel: " + STAMP.sub("", first).strip(), seconds_between(lines[0], first)


def seconds_between(first, second):
    """The time between two lines of a kernel log."""
    stamps = [STAMP.match(line.rstrip("\r\n")) for line in (first, second)]
    return round(float(stamps[1][1]) - float(stamps[0][1]), 1) if all(stamps) else 0.0


def read_json_lines(path):
    """The lines of a file of JSON, none if it is not there."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def guest(directory, status):
    """The races that a guest was to run: each with all that caught a bug, the earliest first, and
    what kept it from being run to its end."""
    [plan] = read_json_lines(os.path.join(directory, "shared/plan")) or [[]]
    records = {record["race"]: record
               for record in read_json_lines(os.path.join(directory, "shared/races"))}
    log = os.path.join(directory, "kernel.log")
    begun = dict(klog_intervals(log)) if os.path.exists(log) else {}
    races = []
    for race in plan:
        record, lines = records.get(race), begun.get(race, [])
        catches = [complaint(lines, os.path.join(directory, "klog-part"))] if lines else []
        if record and record["caught"]:
            catches.append((record["caught"], record["seconds"]))
        catches = sorted(filter(None, catches), key=lambda catch: catch[1])
        broken = record["broken"] if record else None
        if not record and not catches:
            how = HOW_GUESTS_END.get(status, f"the guest ended with status {status}")
            broken = f"{how} {'in it' if lines else 'before it began'}"
        races.append({"race": race, "caught": catches, "broken": broken})
    return races


def seeds(mutant, kernel):
    """The verdicts of all guests of a mutant that there are."""
    path = os.path.join(OUT, mutant, kernel)
    found = []
    for entry in sorted(os.listdir(path)):
        verdict = os.path.join(path, entry, "verdict.json")
        if entry.startswith("seed") and os.path.exists(verdict):
            with open(verdict, encoding="utf-8") as file:
                found.append(json.load(file))
    return found


def entry(race, tries, who):
    """How often and how fast a race caught the bug, by its earliest catches that `who` tells of."""
    found = [next((catch for catch in catches if catch[0].startswith(who)), None) for catches in tries]
    found = list(filter(None, found))
    return {"race": race, "tries": len(tries), "caught": len(found),
            "by": found[0][0] if found else None, "seconds": median(catch[1] for catch in found)}


def entries(race, tries, witnesses):
    """An entry for each of the witnesses that has seen something, or one that says that none has."""
    found = [entry(race, tries, who) for who in witnesses]
    return [told for told in found if told["caught"]] or found[:1]


def summary(name, kernel):
    """A row: for each race what caught the bug, and the median of the seconds."""
    mutant = patches.load(name)
    guests = seeds(name, kernel)
    by_race = {}
    for race in (race for races in guests for race in races if race["caught"] or not race["broken"]):
        by_race.setdefault(race["race"], []).append(race["caught"])
    firsts = [min((race["caught"][0][1] for race in races if race["caught"]), default=None)
              for races in guests]
    witnesses = patches.WITNESSES.values() if mutant.seen_by else ("",)
    return {
        "mutant": name, "kernel": kernel, "bug": mutant.bug, "breaks": list(mutant.breaks),
        "seeds": len(guests), "caught": sum(first is not None for first in firsts),
        "seconds": median(first for first in firsts if first is not None),
        "races": [told for race, tries in by_race.items() for told in entries(race, tries, witnesses)],
    }


def median(seconds):
    """The median, or nothing of nothing."""
    seconds = list(seconds)
    return round(statistics.median(seconds), 1) if seconds else None


def blind(races, wanted):
    """Those of `wanted` who saw nothing."""
    said = [what for race in races for what, _ in race["caught"]]
    return [who for who in wanted if not any(what.startswith(patches.WITNESSES[who]) for what in said)]


def wanted_for(name, directory, status):
    """Who has to see the bug of a mutant. When the kernel has crashed, programs may never come to
    say what they saw, and only the log can tell."""
    wanted = patches.load(name).seen_by if name in patches.all_names() else ()
    return tuple(who for who in wanted if who == "kernel" or not crashed(directory, status))


def crashed(directory, status):
    """Whether nothing could be run any more in the end."""
    if status in HOW_GUESTS_END or not os.path.exists(os.path.join(directory, "kernel.log")):
        return True
    with open(os.path.join(directory, "kernel.log"), encoding="utf-8", errors="replace") as file:
        return bool(re.search("Oops: |Kernel panic", file.read()))


def judge(directory, status, wanted):
    """Writes the verdict on one guest down, and says it in a line."""
    races = guest(directory, status)
    with open(os.path.join(directory, "verdict.json"), "w", encoding="utf-8") as file:
        json.dump(races, file, indent=1)
    caught = [f"after {seconds} s, {what[:100]} [{race['race']}]"
              for race in races for what, seconds in race["caught"][:None if wanted else 1]]
    broken = [f"{race['race']}: {race['broken']}" for race in races if race["broken"]]
    # A mutant may leave the machine in a state in which the races after the first cannot be run.
    if not races or broken and not caught:
        print("it cannot be said; " + ("; ".join(broken) or "nothing was begun"))
        return 3
    missed = [race["race"] for race in races if not race["caught"] and not race["broken"]]
    unseen = blind(races, wanted) or ([] if wanted else missed)
    if caught and unseen:
        print(f"not seen by {', '.join(unseen)}, but {'; '.join(caught)}")
        return 4
    print("; ".join(caught) or f"nothing, by {', '.join(missed)}")
    return 0 if caught else 5


def main():
    """See above."""
    command, *arguments = sys.argv[1:]
    if command == "seed":
        directory, status, name = arguments
        sys.exit(judge(directory, int(status), wanted_for(name, directory, int(status))))
    rows = [summary(*name.split("/")) for name in arguments if name != "--save"]
    print(show(rows))
    with open(os.path.join(OUT, "results.json"), "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
    if "--save" in arguments:
        put_table(list_table(rows), os.path.join(REPO, "Documentation/mutants.rst"))


if __name__ == "__main__":
    main()
