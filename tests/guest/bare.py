#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""diorace on filesystems as they are: no false alarm where nothing may collide.

Each scenario (SCENARIOS, default everything) runs for SECONDS_EACH (5) on each
of LOWERS with each of SEEDS (1); a violation is a failure, a collision is noted.
Without LOWERS: ext2 ext3 ext4 xfs btrfs tmpfs overlay. PROFILE is that of
diorace, DIORACE another binary of it.
OVER=diofs races through diofs over each lower instead, where a collision is a
failure as well. Each race takes about 15 seconds more than it races.
"""

import contextlib
import functools
import json
import os

from harness import LOWER, REPO, UPPER, Failure, Skip, disk, load, main, mounted, must, run

SECONDS = float(os.environ.get("SECONDS_EACH") or 5)
SEEDS = (os.environ.get("SEEDS") or "1").split()
SCENARIOS = (os.environ.get("SCENARIOS") or "everything").split()
KINDS = (os.environ.get("LOWERS") or "ext2 ext3 ext4 xfs btrfs tmpfs overlay").split()
OVER = os.environ.get("OVER") or ""
PROFILE = os.environ.get("PROFILE") or ("strict" if OVER else "bare")
DIORACE = os.environ.get("DIORACE") or os.path.join(REPO, "tests/target/release/diorace")
MKFS = {"xfs": "mkfs.xfs -q -f", "btrfs": "mkfs.btrfs -q -f"}


@contextlib.contextmanager
def filesystem(kind):
    """A fresh one of that kind, `ext4-1k` with its block size, mounted."""
    name, _, block = kind.partition("-")
    if name == "tmpfs":
        with mounted("tmpfs", LOWER, "tmpfs", "size=512m") as point:
            yield point
        return
    run(["modprobe", name])
    if name == "overlay":
        with mounted("tmpfs", LOWER, "tmpfs", "size=16m"), filesystem_on(disk(0), "ext4", "") as below:
            parts = [os.path.join(below, part) for part in ("low", "up", "work")]
            for part in parts:
                os.mkdir(part)
            options = f"lowerdir={parts[0]},upperdir={parts[1]},workdir={parts[2]}"
            with mounted("overlay", "/mnt/overlay", "overlay", options) as point:
                yield point
        return
    with filesystem_on(disk(0), name, block) as point:
        yield point


@contextlib.contextmanager
def filesystem_on(device, name, block):
    """A fresh filesystem on a disk."""
    size = f" -b {int(block[:-1]) * 1024}" if block.endswith("k") else ""
    must(f"{MKFS.get(name, f'mkfs.{name} -q -F')}{size} {device}")
    options = "data=ordered" if name == "ext3" else "data=journal" if block == "journal" else ""
    with mounted(device, "/mnt/bare", name, options) as point:
        yield point


@contextlib.contextmanager
def place(kind):
    """Where the race is run."""
    with filesystem(kind) as point:
        # Of a directory of this name the kernel log may tell collisions.
        directory = os.path.join(point, "dir" if OVER else "bare")
        os.mkdir(directory)
        if not OVER:
            yield directory
            return
        load()
        with mounted(directory, UPPER, OVER):
            yield UPPER


def race(kind, scenario, seed):
    """One race; returns what it found apart from violations."""
    name = f"{OVER or 'bare'}-{kind}-{scenario}-{seed}"
    path = os.path.join(os.environ.get("DIOFS_OUT", "/tmp"), f"{name}.json")
    with place(kind) as point:
        status, output = run(
            [DIORACE, "run", point, "--scenario", scenario, "--duration", str(SECONDS), "--quiet",
             "--seed", seed, "--profile", PROFILE, "--json", path], timeout=SECONDS + 240)
    if status == 3:
        raise Skip(output.splitlines()[-1] if output else "diorace says nothing")
    if status not in (0, 2):
        raise Failure(f"diorace exits with {status}\n{output[-3000:]}")
    with open(path) as file:
        result = json.load(file)["scenarios"][0]
    if PROFILE == "strict" and status:
        raise Failure(f"collisions {result['collisions']}, refused {result['errors']}, "
                      f"unexplained {result['unexplained']}")
    if not result["words_checked"]:
        raise Failure(f"nothing was checked\n{output}")
    errors = ", ".join(f"{n} {what}" for what, n in result["errors"].items())
    collisions = ", ".join(f"{n} {what}" for what, n in result["collisions"].items())
    return (f"{result['operations']} operations, {result['words_checked']} words"
            f"; collisions: {collisions or 'none'}; errors: {errors or 'none'}")


if __name__ == "__main__":
    main([(f"{OVER or 'bare'}.{kind}.{scenario}.{seed}",
           functools.partial(race, kind, scenario, seed))
          for kind in KINDS for scenario in SCENARIOS for seed in SEEDS])
