#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writing and judging every word leaves diorace at least half of fio's speed.

One thread with 32 direct requests of 4 KiB outstanding, half of them reads, at
random places of a file of 16 MiB: fio without verification, and diorace, in
turns, on the bare lower and through diofs.
"""

import json
import os
import statistics
from harness import REPO, Failure, disk, main, must, run, stack

DIORACE = os.path.join(REPO, "tests/target/release/diorace")
SECONDS = 2
ROUNDS = 3
SIZE = 16 << 20
SHARE = 0.5
ENGINES = {"libaio": "libaio", "io_uring": "uring"}


def fio(directory, engine):
    """fio's operations a second."""
    output = must(
        f"fio --output-format=json --name=mix --filename={directory}/fio --size={SIZE} --bs=4k "
        f"--rw=randrw --direct=1 --ioengine={engine} --iodepth=32 --norandommap --overwrite=1 "
        f"--time_based --runtime={SECONDS} --ramp_time=1")
    job = json.loads(output[output.index("{"):])["jobs"][0]
    return job["read"]["iops"] + job["write"]["iops"]


def diorace(directory, engine):
    """diorace's operations a second, and the share of its time that judging takes."""
    path = os.path.join(os.environ.get("DIOFS_OUT", "/tmp"), "throughput.json")
    status, output = run(
        [DIORACE, "run", directory, "--scenario", f"direct-mix-{ENGINES[engine]}", "--quiet",
         "--duration", str(SECONDS), "--size", str(SIZE), "--depth", "32", "--json", path])
    if status != 0:
        raise Failure(f"diorace exits with {status}\n{output}")
    with open(path) as file:
        report = json.load(file)["scenarios"][0]
    if not report["words_checked"]:
        raise Failure(f"nothing was judged\n{output}")
    return report["operations"] / report["seconds"], report["checking_share"]


def compare(engine, upper):
    """Both tools in turns; the medians."""
    with stack(disk(0), "ext4") as (lower, through):
        directory = through if upper else lower
        rounds = [(fio(directory, engine), *diorace(directory, engine)) for _ in range(ROUNDS)]
    plain, judged, share = (statistics.median(column) for column in zip(*rounds))
    said = (f"fio {plain:.0f} IOPS, diorace {judged:.0f} IOPS ({100 * judged / plain:.0f} %), "
            f"{100 * share:.0f} % of its time spent on judging")
    if judged < SHARE * plain:
        raise Failure(f"below {100 * SHARE:.0f} %: {said}")
    return said


main([(f"{'diofs' if upper else 'bare'}/{engine}",
       lambda engine=engine, upper=upper: compare(engine, upper))
      for upper in (False, True) for engine in ENGINES])
