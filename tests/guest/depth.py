#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Asynchronous requests stay asynchronous: queue depth costs nothing.

A disk that answers every request after a fixed time makes IOPS a measure of
the depth that really reaches it. One process with 32 direct reads outstanding
has to reach 90 % of the bare lower's IOPS through diofs.
"""

import json
import os
import statistics
from harness import (LOWER, UPPER, Failure, Skip, disk, load, main, make_lower, mounted, must, run)

LATENCY_MS = 40
DEPTH = 32
SHARE = 0.9
ROUNDS = 3
SLOW = "/dev/mapper/diofs-slow"


def iops(directory, engine):
    """What one process reaches with DEPTH requests outstanding."""
    output = must(
        f"fio --output-format=json --name=depth --filename={directory}/file --rw=randread --bs=4k "
        f"--size=64m --direct=1 --ioengine={engine} --iodepth={DEPTH} --time_based --runtime=6 "
        "--ramp_time=1")
    return json.loads(output[output.index("{"):])["jobs"][0]["read"]["iops"]


def slow_disk():
    """A device-mapper device over the disk that delays every request."""
    if run("modprobe dm-delay")[0] != 0:
        raise Skip("this kernel has no dm-delay")
    run("dmsetup remove diofs-slow")
    sectors = must(f"blockdev --getsz {disk(1)}")
    must(["dmsetup", "create", "diofs-slow", "--table", f"0 {sectors} delay {disk(1)} 0 {LATENCY_MS} {disk(1)} 0 0"])


def compare(engine):
    """Median of interleaved runs on the bare lower and through diofs."""
    load()
    make_lower(disk(1), "ext4")
    slow_disk()
    try:
        with mounted(SLOW, LOWER, "ext4"):
            os.mkdir(f"{LOWER}/dir")
            must(f"dd if=/dev/zero of={LOWER}/dir/file bs=1M count=64 oflag=direct status=none")
            with mounted(f"{LOWER}/dir", UPPER, "diofs"):
                pairs = [(iops(f"{LOWER}/dir", engine), iops(UPPER, engine)) for _ in range(ROUNDS)]
    finally:
        run("dmsetup remove diofs-slow")
    bare, through = (statistics.median(column) for column in zip(*pairs))
    said = (f"{DEPTH} direct reads outstanding, {LATENCY_MS} ms each: bare {bare:.0f} IOPS, "
            f"diofs {through:.0f} IOPS, {100 * through / bare:.1f} %")
    if bare < 0.5 * DEPTH * 1000 / LATENCY_MS:
        raise Failure(f"the bare lower itself is not at depth; {said}")
    if through < SHARE * bare:
        raise Failure(f"below {100 * SHARE:.0f} %; {said}")
    return said


main([(f"depth-{engine}", lambda engine=engine: compare(engine)) for engine in ("libaio", "io_uring")])
