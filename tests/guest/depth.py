#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Asynchronous requests stay asynchronous: queue depth costs nothing.

A disk that answers every request after a fixed time makes IOPS a measure of
the depth that really reaches it. One process with 32 direct reads outstanding
has to reach 90 % of the bare lower's IOPS through diofs.
"""

import contextlib
import json
import os
import statistics
from harness import (LOWER, PATIENCE, UPPER, Failure, Skip, disk, load, main, make_lower, mounted, must, run)

# Long beside the processor's time for a request, emulated and shared as it may be.
LATENCY_MS = 100 * PATIENCE
DEPTH = 32
SHARE = 0.9
AT_DEPTH = 0.5 * DEPTH * 1000 / LATENCY_MS  # the bare lower has to reach that
ROUNDS = 3
SLOW = "/dev/mapper/diofs-slow"


def iops(engine, columns):
    """What one process reaches with DEPTH requests outstanding in each of these
    directories, in runs that take turns."""
    command = (
        "fio --output-format=json --rw=randread --bs=4k --size=64m --direct=1 "
        f"--ioengine={engine} --iodepth={DEPTH} --time_based "
        f"--runtime={3 * PATIENCE} --ramp_time={PATIENCE}")
    for _ in range(ROUNDS):
        for directory in columns:
            command += f" --stonewall --name={directory} --filename={directory}/file"
    output = must(command)
    jobs = json.loads(output[output.index("{"):])["jobs"]
    return [[job["read"]["iops"] for job in jobs if job["jobname"] == directory]
            for directory in columns]


def table(latency):
    """A device-mapper table for the disk that answers each read so late."""
    return f"0 {must(f'blockdev --getsz {disk(1)}')} delay {disk(1)} 0 {latency} {disk(1)} 0 0"


@contextlib.contextmanager
def delayed_disk():
    """A device over the disk, with no delay yet."""
    if run("modprobe dm-delay")[0] != 0:
        raise Skip("this kernel has no dm-delay")
    run("dmsetup remove diofs-slow")
    must(["dmsetup", "create", "diofs-slow", "--table", table(0)])
    try:
        yield SLOW
    finally:
        run("dmsetup remove diofs-slow")


def slow_down():
    """From now on reads take their time."""
    must(["dmsetup", "load", "diofs-slow", "--table", table(LATENCY_MS)])
    must("dmsetup resume diofs-slow")


def medians(engine, columns):
    """Of the runs in each directory; of twice as many if those were too slow. A machine
    that stands still for a moment spoils a run, what waits for each request all of them."""
    runs = iops(engine, columns)
    bare, through = map(statistics.median, runs)
    if bare < AT_DEPTH or through < SHARE * bare:
        runs = [first + second for first, second in zip(runs, iops(engine, columns))]
    return map(statistics.median, runs)


def compare(engine):
    """The bare lower and diofs."""
    load()
    make_lower(disk(1), "ext4")
    with delayed_disk() as device, mounted(device, LOWER, "ext4"):
        os.mkdir(f"{LOWER}/dir")
        must(f"dd if=/dev/zero of={LOWER}/dir/file bs=1M count=64 oflag=direct status=none")
        with mounted(f"{LOWER}/dir", UPPER, "diofs"):
            slow_down()
            bare, through = medians(engine, (f"{LOWER}/dir", UPPER))
    said = (f"{DEPTH} direct reads outstanding, {LATENCY_MS} ms each: bare {bare:.0f} IOPS, "
            f"diofs {through:.0f} IOPS, {100 * through / bare:.1f} %")
    if bare < AT_DEPTH:
        raise Failure(f"the bare lower itself is not at depth; {said}")
    if through < SHARE * bare:
        raise Failure(f"below {100 * SHARE:.0f} %; {said}")
    return said


main([(f"depth-{engine}", lambda engine=engine: compare(engine)) for engine in ("libaio", "io_uring")])
