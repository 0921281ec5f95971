#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's part of scripts/power-loss.

    powerloss.py work SIZE SEED LOWER...   writes through diofs over each lower until killed
    powerloss.py judge IMAGE...            checks what cuts left: LOWER-...img, .acks beside it

A lower is a filesystem of SIZE bytes on a disk whose writes are logged on the
host; the rest of the disk takes the notes of what was acknowledged. `ext4-nobarrier`
never flushes the disk: its losses prove that a loss would be seen.
"""

import contextlib
import os
import re
import subprocess
import sys
import time

from harness import (LOWER, REPO, UPPER, Failure, Report, disk, fsck, load, make_lower, mounted,
                     must, run)

POWERLOSS = os.path.join(REPO, "tests/target/release/powerloss")
SECTOR = 512
NOTES = 1 << 20
OPTIONS = {"journal": "data=journal", "nobarrier": "barrier=0"}


def options(lower):
    """The mount options of a lower."""
    return OPTIONS.get(lower.partition("-")[2], "")


def part(name, device, begin, size):
    """A device that is a part of another."""
    table = f"0 {size // SECTOR} linear {device} {begin // SECTOR}"
    must(["dmsetup", "create", name, "--table", table])
    return f"/dev/mapper/{name}"


def start_work(number, lower, size, seed):
    """One lower under one workload: the process, and the file that says it runs."""
    logged = disk(4 + number)
    device = part(f"lower{number}", logged, 0, size)
    notes = part(f"notes{number}", logged, size, NOTES)
    make_lower(device, lower)
    below, above = f"{LOWER}/{number}", f"/mnt/{number}"
    os.makedirs(below)
    os.makedirs(above)
    chosen = options(lower)
    must(["mount", "-t", lower.partition("-")[0], *(["-o", chosen] if chosen else []), device, below])
    os.mkdir(f"{below}/dir")
    must(f"mount -t diofs {below}/dir {above}")
    started = f"/tmp/started{number}"
    return subprocess.Popen([POWERLOSS, "workload", above, "--acks", notes, "--seed", seed,
                             "--started", started]), started


def work(size, seed, *lowers):
    """All lowers at once. It ends by being killed, or else it has failed."""
    load()
    workloads = [start_work(number, lower, int(size), seed) for number, lower in enumerate(lowers)]
    while not all(os.path.exists(started) for _, started in workloads):
        time.sleep(0.05)
        if any(process.poll() is not None for process, _ in workloads):
            sys.exit("FAIL a workload ended early")
    with open(os.path.join(os.environ["DIOFS_OUT"], "started"), "w"):
        pass
    while all(process.poll() is None for process, _ in workloads):
        time.sleep(0.2)
    sys.exit("FAIL a workload ended by itself")


def verify(directory, acks, *more):
    """What the directory holds against what was acknowledged; the last line of output."""
    status, output = run([POWERLOSS, "verify", directory, "--acks", acks, *more])
    if status != 0:
        raise Failure(f"{directory} {' '.join(more)}: {output.splitlines()[-1]}\n{output}")
    return output.splitlines()[-1]


def check(image, lower):
    """One image, first bare, after the journal's replay, then through diofs."""
    kind, acks = lower.partition("-")[0], image.replace(".img", ".acks")
    must(f"dd if={image} of={disk(0)} bs=1M oflag=direct status=none")
    with mounted(disk(0), LOWER, kind, options(lower)):
        said = verify(f"{LOWER}/dir", acks)
    fsck(disk(0))
    with mounted(disk(0), LOWER, kind, options(lower)):
        with mounted(f"{LOWER}/dir", UPPER, "diofs"):
            verify(UPPER, acks)
            verify(UPPER, acks, "--direct")
    fsck(disk(0))
    return said


def noticed(image, lower):
    """Whether a check of this image fails."""
    with contextlib.suppress(Failure):
        check(image, lower)
        return False
    run(f"umount {UPPER}")
    run(f"umount {LOWER}")
    return True


def proof(images):
    """Cuts below a filesystem that never flushes have to be noticed."""
    count = sum(noticed(image, lower) for image, lower in images)
    if count == 0:
        raise Failure(f"none of {len(images)} cuts below a filesystem without barriers was noticed: "
                      "this test would not see a loss")
    return f"{count} of {len(images)} cuts below a filesystem without barriers were noticed"


def judge(*images):
    """Each image is a test; those without barriers are one together."""
    load()
    report, operations, proofs = Report(), [], []
    for image in images:
        name = os.path.basename(image).removesuffix(".img")
        lower = re.match(r"ext[34]-[^-]+", name).group()

        def survives(image=image, lower=lower):
            said = check(image, lower)
            operations.append(int(said.split()[0]))
            return said

        if lower.endswith("nobarrier"):
            proofs.append((image, lower))
        else:
            report.run(name, survives)
    if proofs:
        report.run("a-loss-is-noticed", lambda: proof(proofs))
    cuts = len(images) - len(proofs)
    print(f"power loss: {cuts} cuts, {len(operations)} survived with everything acknowledged, "
          f"{sum(operations)} acknowledged operations checked")
    return report.finish()


if __name__ == "__main__":
    sys.exit({"work": work, "judge": judge}[sys.argv[1]](*sys.argv[2:]))
