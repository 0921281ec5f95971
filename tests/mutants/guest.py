#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In the guest: runs what should see the bug of a mutant, and notes what did.

    guest.py [--whole] [--seed N] NAME...

runs the races of these mutants on the module that MODULE= names, each race once
however many name it. With --whole, what is run is all there is: every test on
ext4 and every scenario of diorace. Each race is a line of JSON in
$DIOFS_OUT/races: what it was, what caught the bug, after how many seconds. That
it began goes to the kernel log, for the case that the guest does not live on. What
is going to be run stands in $DIOFS_OUT/plan.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))

import patches  # noqa: E402
from harness import (PATIENCE, REPO, Failure, disk, fsck, load, module_loaded, must, run,  # noqa: E402
                     stack, statistics)

OUT = os.environ.get("DIOFS_OUT", "/tmp")
DIORACE = os.path.join(REPO, "tests/target/release/diorace")
LEAKS = os.path.join(REPO, "scripts/guest/leaks")
WHOLE = (patches.Race("suite", "ext4-4k", ()), patches.Race("diorace", "ext3", ("all",)))
WHOLE_SECONDS = 1500
WHOLE_SCENARIO_SECONDS = 10
# What the module has counted is looked at after each round of a race.
ROUND_SECONDS = 6


class Caught(Exception):
    """What gave the bug away."""


class Broken(Exception):
    """Why a race could not be run: that says nothing about a mutant."""


class Clock:
    """The time since the racing command began, which the kernel log is told of: a mark there
    outlives the guest."""

    def __init__(self, race):
        self.race = race
        self.begin = time.monotonic()
        self.stopped = None
        self.started = False

    def start(self):
        """The command begins now."""
        to_kernel_log(f"begin {self.race}")
        self.begin = time.monotonic()
        self.started = True

    def stop(self, moment=None):
        """Something was seen, now or at that moment, though the command goes on."""
        self.stopped = self.stopped or moment or time.monotonic()

    def seconds(self):
        """From the beginning until something was seen, or until now."""
        return round((self.stopped or time.monotonic()) - self.begin, 1)


def to_kernel_log(text):
    """Leaves a mark that outlives this guest."""
    with open("/dev/kmsg", "w", encoding="utf-8") as log:
        log.write(f"mutants: {text}\n")


def first_failure(process, clock):
    """The first line with which a suite says that a test failed, told as soon as it does."""
    failure = None
    for line in process.stdout:
        print("    " + line, end="", flush=True)
        if failure is None and line.startswith("FAIL "):
            clock.stop()
            failure = line[len("FAIL "):].strip()
    return failure


def suite(race, budget, seed, clock, _witnesses):
    """Tests of diofs-suite, until the last of them has ended or the budget is used up."""
    clock.start()
    process = subprocess.Popen(
        [os.path.join(REPO, "scripts/guest/run-suite"), "--seed", str(seed), *race.names],
        env={**os.environ, "LOWERS": race.lower}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    alarm = threading.Timer(budget + 60 * PATIENCE, os.killpg, (process.pid, signal.SIGKILL))
    alarm.start()
    failure = first_failure(process, clock)
    status = process.wait()
    alarm.cancel()
    if failure:
        raise Caught(f"test {failure}")
    if status == -signal.SIGKILL:
        raise Broken(f"it takes longer than {budget + 60 * PATIENCE} s")
    if status != 0:
        raise Broken(f"diofs-suite ends with {status}, though no test has failed")


def diorace_round(race, upper, seconds, seed, clock):
    """One run of diorace; a verdict other than legal gives the bug away."""
    path = os.path.join(OUT, "diorace.json")
    scenarios = 1 if race.names[0] != "all" else len(must([DIORACE, "list"]).splitlines())
    begin = time.monotonic()
    try:
        status, output = run(
            [DIORACE, "run", upper, "--scenario", race.names[0], "--duration", str(seconds),
             "--seed", str(seed), "--profile", "strict", "--until", "collision",
             "--grace", str(30 * PATIENCE), "--quiet", "--json", path],
            timeout=(seconds + 10) * scenarios + 120)
    except Failure as late:
        # It has a watchdog of its own, which would have told of requests that hang.
        raise Broken(str(late)) from None
    print(re.sub("^", "    ", output, flags=re.M), flush=True)
    if status in (1, 2):
        found, first = told(path)
        if first is not None:
            # What comes after it is the waiting for requests that never complete, and the report.
            clock.stop(begin + first)
        raise Caught(f"diorace {race.names[0]}: {found or f'status {status}'}")
    if status:
        raise Broken(f"diorace ends with status {status}: {output.strip().splitlines()[-1:]}")


def told(path):
    """What a result of diorace says is wrong, in a few words, and when it was first seen."""
    try:
        with open(path, encoding="utf-8") as file:
            scenarios = json.load(file)["scenarios"]
    except (OSError, ValueError):
        return "", None
    words, firsts = [], []
    for scenario in scenarios:
        firsts += [scenario[first] for first in ("first_violation", "first_collision")]
        for what in ("violations", "collisions", "refused", "errors"):
            count = scenario.get(what)
            if count:
                words.append(f"{what} {json.dumps(count)}" if not isinstance(count, list)
                             else f"{len(count)} {what}")
    firsts = [first for first in firsts if first is not None]
    # With several scenarios one after the other, the times are those of each.
    return ", ".join(words)[:200], min(firsts) if len(scenarios) == 1 and firsts else None


def counters_look_bad():
    """Whether the module has counted pages that stayed in the cache after a direct write."""
    counted = statistics()
    return counted["after_failures"] or counted["found_after"] and not counted["waits_given_up"]


def kernel_complains():
    """Whether the kernel has said something that a healthy one does not say."""
    log = os.path.join(OUT, "dmesg")
    with open(log, "w", encoding="utf-8") as file:
        file.write(must("dmesg"))
    return run([os.path.join(REPO, "scripts/klog-scan"), log])[0] != 0


def diorace(race, budget, seed, clock, witnesses):
    """A scenario of diorace over a lower; what it leaves has to be sound. If there are witnesses
    who are to see the bug, what the module itself has counted does not end the race, and if the
    kernel is one of them nor does what diorace has found."""
    options = "data=ordered" if race.lower == "ext3" else ""
    rounds, suspicious, found = 0, False, None
    with stack(disk(0), race.lower, options) as (_, upper):
        clock.start()
        end = time.monotonic() + budget
        while time.monotonic() < end:
            seconds = WHOLE_SCENARIO_SECONDS if race.names[0] == "all" else ROUND_SECONDS
            try:
                diorace_round(race, upper, seconds, seed * 1000 + rounds, clock)
            except Caught as caught:
                found = found or caught
            except Broken as broken:
                raise found or broken from None
            rounds += 1
            suspicious = counters_look_bad()
            if found and ("kernel" not in witnesses or kernel_complains()):
                raise found
            if suspicious and not witnesses:
                break
        if found or suspicious:
            raise found or Caught("statistics: pages were found in the cache after direct writes")
    fsck(disk(0))


def one(race, budget, seed, witnesses):
    """Runs a race on the module freshly loaded; returns what caught a bug, when, and what
    kept the race from being run."""
    clock = Clock(race)
    try:
        load()
        {"suite": suite, "diorace": diorace}[race.kind](race, budget, seed, clock, witnesses)
        must("rmmod diofs")
        must(f"{LEAKS} find", timeout=300)
    except Broken as broken:
        return None, clock.seconds(), str(broken)
    except (Caught, Failure) as caught:
        said = str(caught).splitlines()[0]
        # What fails before the race is the test's own trouble.
        return (said, clock.seconds(), None) if clock.started else (None, 0.0, said)
    return None, clock.seconds(), None


def note(race, seed, what, seconds, broken):
    """Writes the result down."""
    said = f"caught by {what}" if what else broken or "nothing wrong"
    print(f"  {race}: {said} ({seconds} s)", flush=True)
    with open(os.path.join(OUT, "races"), "a", encoding="utf-8") as file:
        file.write(json.dumps({"race": str(race), "seed": seed, "caught": what,
                               "seconds": seconds, "broken": broken}) + "\n")
        file.flush()
        os.fsync(file.fileno())
    to_kernel_log(f"end {race}")


def end_if_a_processor_spins():
    """From here on a soft lockup ends the guest, which else goes on for nothing until its time is
    over. The log has told of the bug by then, or tells of this one."""
    with contextlib.suppress(FileNotFoundError), \
            open("/proc/sys/kernel/softlockup_panic", "w", encoding="utf-8") as switch:
        switch.write("1")


def main():
    """Runs the races until one leaves the module in a state that nothing else can run on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("names", nargs="+")
    arguments = parser.parse_args()
    mutants = [patches.load(name) for name in arguments.names]
    races = {}
    for mutant in mutants:
        for race in mutant.races:
            races[race] = max(races.get(race, 0), mutant.budget * PATIENCE)
    if arguments.whole:
        # diorace goes through its scenarios once.
        races = {race: WHOLE_SECONDS * PATIENCE if race.kind == "suite" else 1 for race in WHOLE}
    with open(os.path.join(OUT, "plan"), "w", encoding="utf-8") as file:
        json.dump([str(race) for race in races], file)
    witnesses = {who for mutant in mutants for who in mutant.seen_by}
    end_if_a_processor_spins()
    must("modprobe dm_mod")
    must(f"{LEAKS} forget", timeout=300)
    for race, budget in races.items():
        note(race, arguments.seed, *one(race, budget, arguments.seed, witnesses))
        if module_loaded() and run("rmmod diofs")[0]:
            break


main()
