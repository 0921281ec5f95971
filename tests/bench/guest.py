#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""How fast diofs is: the same load on four ways to the same ext4, in turns.

bare is a directory of the ext4 itself. overlayfs and bindfs (a FUSE mirror) are
what else can be mounted over a directory; diofs is what this is about. All are
mounted at once, each over a directory of its own. A round runs every load on
each of them, one after the other, so that a slow moment of the machine meets
them all; the ratios are taken within a round.

Arguments choose loads by a part of their name; WAYS='overlayfs diofs' leaves one out;
ROUNDS and SECONDS_EACH say how often and how long. What is measured goes to
$DIOFS_OUT/results, a line of JSON for each load.
"""

import contextlib
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))

from harness import LOWER, Failure, disk, load, main, make_lower, mounted, must  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS") or 3)
SECONDS = float(os.environ.get("SECONDS_EACH") or 2)
OUT = os.environ.get("DIOFS_OUT", "/tmp")
SIZE = 32 << 20

QUEUED = "--direct=1 --bs=4k --iodepth=32"
ONE = "--direct=1 --bs=4k --ioengine=psync"
CACHED = "--bs=4k --ioengine=psync"
LARGE = "--bs=1m --ioengine=psync"
FILES = "--nrfiles=500 --filesize=4k --openfiles=1"

# What a load is called, fio's arguments, and whether the caches are emptied before it.
LOADS = {
    "direct random read, libaio, 32 deep": (f"{QUEUED} --rw=randread --ioengine=libaio", False),
    "direct random write, libaio, 32 deep": (f"{QUEUED} --rw=randwrite --ioengine=libaio", False),
    "direct random read, io_uring, 32 deep": (f"{QUEUED} --rw=randread --ioengine=io_uring", False),
    "direct random write, io_uring, 32 deep": (f"{QUEUED} --rw=randwrite --ioengine=io_uring", False),
    "direct random read, one at a time": (f"{ONE} --rw=randread", False),
    "direct random write, one at a time": (f"{ONE} --rw=randwrite", False),
    "direct sequential read, 1 MiB": (f"--direct=1 {LARGE} --rw=read", False),
    "direct sequential write, 1 MiB": (f"--direct=1 {LARGE} --rw=write", False),
    "cached random read, all hits": (f"{CACHED} --rw=randread --pre_read=1", False),
    "cached random write, all hits": (f"{CACHED} --rw=randwrite --pre_read=1", False),
    "cached sequential read, cold": (f"{LARGE} --rw=read --invalidate=0", True),
    "cached sequential write, then fsync": (f"{LARGE} --rw=write --end_fsync=1", False),
    "cached write and fdatasync, 4 KiB": (f"{CACHED} --rw=randwrite --fdatasync=1", False),
    "mapped random read, all hits": ("--bs=4k --ioengine=mmap --rw=randread --pre_read=1", False),
    "mapped random write": ("--bs=4k --ioengine=mmap --rw=randwrite --pre_read=1", False),
    "stat of 500 files": (f"--ioengine=filestat {FILES}", False),
    "creating 500 files": (f"--ioengine=filecreate {FILES}", False),
}
WAYS = ("bare", *(os.environ.get("WAYS") or "overlayfs bindfs diofs").split())


@contextlib.contextmanager
def bindfs(source, point):
    """A FUSE mirror, as quick as its options make it."""
    os.makedirs(point, exist_ok=True)
    must(["bindfs", "-o", "allow_other", "--multithreaded", "--forward-odirect=512", source, point])
    try:
        yield
    finally:
        must(["umount", point])


def put_on(way, below, point):
    """Mounts one of the ways over its directory."""
    if way == "overlayfs":
        return mounted("overlay", point, "overlay", f"lowerdir={below['empty']},"
                       f"upperdir={below[way]},workdir={below['work']}")
    if way == "bindfs":
        return bindfs(below[way], point)
    if way == "diofs":
        return mounted(below[way], point, "diofs")
    raise SystemExit(f"there is no way '{way}': overlayfs, bindfs, diofs")


@contextlib.contextmanager
def ways(device):
    """All of them over directories of a fresh ext4; yields where each is."""
    make_lower(device, "ext4")
    points = {way: f"/mnt/{way}" for way in WAYS}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mounted(device, LOWER, "ext4"))
        below = {name: os.path.join(LOWER, name) for name in (*WAYS, "empty", "work")}
        for path in below.values():
            os.mkdir(path)
        points["bare"] = below["bare"]
        for way in WAYS[1:]:
            stack.enter_context(put_on(way, below, points[way]))
        for point in points.values():
            with open(os.path.join(point, "fio"), "wb") as file:
                for _ in range(SIZE >> 20):
                    file.write(os.urandom(1 << 20))
                os.fsync(file.fileno())
        yield points


def once(arguments, cold, directory):
    """Runs a load; returns its operations a second."""
    files = "--nrfiles" in arguments
    place = f"--directory={directory}" if files else f"--filename={directory}/fio --size={SIZE}"
    # files are gone through once, and so is what is to be cold
    bounds = "" if files or cold else f"--time_based --runtime={SECONDS}"
    if cold:
        must("sync")
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("3")
    output = must(f"fio --output-format=json --name=load --norandommap --overwrite=1 --fallocate=none "
                  f"{place} {bounds} {arguments}")
    job = json.loads(output[output.index("{"):])["jobs"][0]
    done = job["read"]["total_ios"] + job["write"]["total_ios"]
    seconds = max(job["read"]["runtime"], job["write"]["runtime"]) / 1000
    if job["error"] or not done or not seconds:
        raise Failure(f"fio did nothing: error {job['error']}, {done} operations in {seconds} s")
    if "--end_fsync" in arguments:
        seconds = job["job_runtime"] / 1000
    if "filecreate" in arguments:
        for name in os.listdir(directory):
            if name.startswith("load."):
                os.unlink(os.path.join(directory, name))
    return done / seconds


def measure(name, points):
    """A load on all ways, ROUNDS times; one line, and the figures for the table."""
    arguments, cold = LOADS[name]
    rounds = [{way: once(arguments, cold, points[way]) for way in WAYS} for _ in range(ROUNDS)]
    row = {"load": name, "bare": statistics.median(r["bare"] for r in rounds)}
    for way in WAYS[1:]:
        shares = [r[way] / r["bare"] for r in rounds]
        row[way] = {"share": statistics.median(shares), "least": min(shares), "most": max(shares)}
    record(row)
    return f"bare {row['bare']:.0f} a second; " + ", ".join(
        f"{way} {100 * row[way]['share']:.0f} %" for way in WAYS[1:])


def record(row):
    """Adds a row to the results, which outlive the guest."""
    with open(os.path.join(OUT, "results"), "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def bench():
    """All loads on one ext4."""
    load()
    must("modprobe -a overlay fuse")
    with ways(disk(0)) as points:
        main([(name, lambda name=name: measure(name, points)) for name in LOADS])


bench()
