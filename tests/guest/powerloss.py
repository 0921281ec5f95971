#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's part of scripts/power-loss.

    powerloss.py work SIZE SEED LOWER...   writes through diofs over each lower until killed
    powerloss.py judge IMAGE...            checks what cuts left: LOWER-...img, .acks beside it

A lower is a filesystem of SIZE bytes on a disk whose writes are logged on the
host; the rest of the disk takes the notes of what was acknowledged. `...control.img`
lacks one acknowledged write and has a .lost beside it, which says what is lost
thereby: that it is noticed proves that a loss would be. `ext4-nobarrier` never
flushes the disk: its damage proves that a cut takes the disk's cache along.
"""

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


class Lost(Failure):
    """A word, a size or a name that had been acknowledged is not there."""


def verify(directory, acks, *more):
    """What the directory holds against what was acknowledged; the last line of output."""
    status, output = run([POWERLOSS, "verify", directory, "--acks", acks, *more])
    if status != 0:
        found = Lost if status == 1 else Failure
        raise found(f"{directory} {' '.join(more)}: {output.splitlines()[-1]}\n{output}")
    return output.splitlines()[-1]


def put(image):
    """Makes the disk what the image is."""
    must(f"dd if={image} of={disk(0)} bs=1M oflag=direct status=none")


def check(image, lower, look=verify):
    """One image, first bare, after the journal's replay, then through diofs."""
    kind, acks = lower.partition("-")[0], image.replace(".img", ".acks")
    put(image)
    with mounted(disk(0), LOWER, kind, options(lower)):
        said = look(f"{LOWER}/dir", acks)
    fsck(disk(0))
    with mounted(disk(0), LOWER, kind, options(lower)):
        with mounted(f"{LOWER}/dir", UPPER, "diofs"):
            look(UPPER, acks)
            look(UPPER, acks, "--direct")
    fsck(disk(0))
    return said


def named(image, lower):
    """A control: each look finds the loss that was made and no other; the rest is in order."""
    with open(image.replace(".img", ".lost")) as file:
        made = file.read().strip()

    def look(*where):
        try:
            said = verify(*where)
        except Lost as lost:
            said = str(lost).partition("\n")[2]
        if said != made:
            raise Failure(f"{' '.join(where)}: a loss was made, and not named as it should be; "
                          f"verify says\n{said}\nand should say\n{made}")
        return made.splitlines()[-1]

    return check(image, lower, look)


def loss_noticed(controls):
    """The loss that each control was made with is named."""
    if not controls:
        raise Failure("there is no control: nothing says that this test would see a loss")
    said = [f"{os.path.basename(image)} {named(image, lower)}" for image, lower in controls]
    return f"{len(said)} of {len(controls)} controls: {'; '.join(said)}"


def damage(image, lower):
    """What a cut without barriers shows first: lost content, or metadata that disagree."""
    kind, acks = lower.partition("-")[0], image.replace(".img", ".acks")
    put(image)
    try:
        with mounted(disk(0), LOWER, kind, options(lower)):
            status, said = run([POWERLOSS, "verify", f"{LOWER}/dir", "--acks", acks])
    except Failure:  # neither mounted nor unmounted
        return "metadata"
    # A file whose creation was acknowledged can be lost as a whole.
    if status == 1 or re.search(f"cannot (open|list|read) {LOWER}/dir/.*No such file", said, re.DOTALL):
        return "content"
    # What ext4 answers to nonsense, to a wrong checksum, and to nonsense that it met before.
    if status and not re.search("Structure needs cleaning|Bad message|Input/output error", said):
        raise Failure(f"{image} cannot be looked at: {said}")
    clean = run(f"e2fsck -f -n {disk(0)}")[0] == 0
    return "none" if clean and not status else "metadata"


def cache_lost(images):
    """Cuts below a filesystem that never flushes do damage. Mostly metadata are what shows
    first, so that says nothing about whether lost content is noticed."""
    shown = [damage(image, lower) for image, lower in images]
    counts = ", ".join(f"{what} {shown.count(what)}" for what in ("content", "metadata", "none"))
    if shown.count("none") == len(shown):
        raise Failure(f"{len(shown)} cuts below a filesystem without barriers did no damage: "
                      "these images lose nothing")
    return f"damage by {len(shown)} cuts below a filesystem without barriers: {counts}"


def judge(*images):
    """Each image is a test; the controls are one together, as are those without barriers."""
    load()
    report, operations, controls, unflushed = Report(), [], [], []
    for image in images:
        name = os.path.basename(image).removesuffix(".img")
        lower = re.match(r"ext[34]-[^-]+", name).group()
        if name.endswith(".control"):
            controls.append((image, lower))
            continue
        if lower.endswith("nobarrier"):
            unflushed.append((image, lower))
            continue

        def survives(image=image, lower=lower):
            said = check(image, lower)
            operations.append(int(said.split()[0]))
            return said

        report.run(name, survives)
    report.run("a-loss-is-noticed", lambda: loss_noticed(controls))
    report.run("what-is-not-flushed-is-lost", lambda: cache_lost(unflushed))
    cuts = len(images) - len(controls) - len(unflushed)
    print(f"power loss: {cuts} cuts, {len(operations)} survived with everything acknowledged, "
          f"{sum(operations)} acknowledged operations checked")
    return report.finish()


if __name__ == "__main__":
    sys.exit({"work": work, "judge": judge}[sys.argv[1]](*sys.argv[2:]))
