#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the programs of 2007 did, on diofs over ext3 with data=ordered.

Asynchronous direct writers against buffered writers of one file of 32 MiB, for
RACE2007_SECONDS (then, no kernel survived 180 seconds of it); writes that extend
a file, and the size that stat shows; direct reads of the last bytes of a file.
"""

import json
import mmap
import os

from harness import (LOWER, PATIENCE, REPO, STAND_IN, Failure, disk, fsck, main, must, run, stack,
                     statistics)

SECONDS = int(os.environ.get("RACE2007_SECONDS") or 200)
DIORACE = os.path.join(REPO, "tests/target/release/diorace")
MIB = 1 << 20
SIZE = 32 * MIB
DIRECT, CACHED = 0xAA, 0x55  # what the two writers of whole files write
ASYNC = ("libaio", "uring")


def over_ext3(race):
    """Runs a race on diofs over ext3; what it leaves has to be sound."""
    with stack(disk(0), "ext3", "data=ordered") as (_, upper):
        said = race(upper)
        said += check_statistics()
    fsck(disk(0))
    return said


def check_statistics():
    """What the module itself may not have counted."""
    if STAND_IN:
        return ""
    counted = statistics()
    if counted["invalidate_failures"] or counted["after_failures"]:
        raise Failure(f"an invalidation failed: {counted}")
    # A wait that gives up goes on over a direct write in flight, which is then found.
    if counted["found_after"] and not counted["waits_given_up"]:
        raise Failure(f"pages were found in the cache after direct writes: {counted}")
    return (f"; {counted['dio_async']} requests queued below, {counted['invalidated_before']} times "
            f"pages dropped before, {counted['found_after']} found after, {counted['waits']} waits")


def diorace(directory, scenario, seconds, *options):
    """Races a scenario; returns operations by (engine, role). The oracle has
    checked each word read, and fsync of a descriptor that was always open."""
    path = os.path.join(os.environ.get("DIOFS_OUT", "/tmp"), f"{scenario}.json")
    status, output = run(
        [DIORACE, "run", directory, "--scenario", scenario, "--duration", str(seconds), "--quiet",
         "--grace", str(60 * PATIENCE),
         "--profile", "strict", "--json", path, *options], timeout=seconds + 180)
    if status != 0:
        raise Failure(f"diorace exits with {status}\n{output}")
    with open(path) as file:
        report = json.load(file)["scenarios"][0]
    for kind in ("errors", "refused", "violations", "collisions"):
        if report[kind]:
            raise Failure(f"{kind}: {report[kind]}\n{output}")
    if not report["words_checked"]:
        raise Failure(f"nothing was checked\n{output}")
    return {(engine["engine"], engine["role"]): engine["operations"] for engine in report["engines"]}


def busy(operations, wanted):
    """All of these have to have done something; says how much."""
    for key in wanted:
        if not operations.get(key):
            raise Failure(f"{key[0]} ({key[1]}) did nothing: {operations}")
    return ", ".join(f"{operations[key]} by {key[0]}" for key in wanted)


def aio_against_buffered(directory):
    """The race, each word checked."""
    operations = diorace(directory, "invalidate-failure", SECONDS, "--size", "32M")
    return f"{SECONDS} s, writes: " + busy(
        operations, [(engine, "write") for engine in (*ASYNC, "buffered")])


def read_direct(name):
    """The content of a file, past the page cache."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, MIB) as buffer:
            pieces = []
            for offset in range(0, SIZE, MIB):
                if os.preadv(descriptor, [buffer], offset) != MIB:
                    raise Failure(f"a direct read at {offset} is short")
                pieces.append(buffer[:])
            return b"".join(pieces)
    finally:
        os.close(descriptor)


def whole_file(directory):
    """Each request is the whole file, as in the program that found the bug."""
    name = os.path.join(directory, "file")
    must(f"dd if=/dev/zero of={name} bs=1M count={SIZE // MIB} conv=fsync status=none")
    command = f"""fio --output-format=json --filename={name} --rw=write --bs={SIZE} --size={SIZE}
        --time_based --runtime=20 --overwrite=1
        --name=direct --ioengine=libaio --direct=1 --iodepth=2 --buffer_pattern={DIRECT:#x}
        --name=cached --ioengine=psync --buffer_pattern={CACHED:#x}"""
    sentinel = os.open(name, os.O_RDWR)
    try:
        output = must(command, timeout=200)
        os.fsync(sentinel)  # reports what went wrong since it was opened
    except OSError as error:
        raise Failure(f"fsync after the race: {error}") from None
    finally:
        os.close(sentinel)
    jobs = json.loads(output[output.index("{"):])["jobs"]
    operations = {(job["jobname"], "write"): job["write"]["total_ios"] for job in jobs}
    if any(job["error"] for job in jobs):
        raise Failure(f"fio: {[(job['jobname'], job['error']) for job in jobs]}")

    direct = read_direct(name)
    with open(name, "rb") as file:
        cached = file.read()
    with open(os.path.join(LOWER, "dir/file"), "rb") as file:
        below = file.read()
    if not direct == cached == below:
        raise Failure("after fsync a direct read, a cached read and the lower file differ")
    if len(direct) != SIZE or direct.count(DIRECT) + direct.count(CACHED) != SIZE:
        raise Failure("the file holds bytes that nobody wrote")
    return "requests of 32 MiB: " + busy(operations, [("direct", "write"), ("cached", "write")])


def extend_and_stat(directory):
    """Whoever saw an extending write complete has to see the size."""
    operations = diorace(directory, "extend-stat", 20)
    return "extending writes: " + busy(operations, [(engine, "both") for engine in ASYNC])


def last_sub_block(directory):
    """A direct read of the last bytes returns those that exist, no more."""
    operations = diorace(directory, "subblock-eof", 10)
    return "reads: " + busy(operations, [(engine, "both") for engine in ("direct", *ASYNC)])


main([(test.__name__, lambda test=test: over_ext3(test)) for test in (
    whole_file, extend_and_stat, last_sub_block, aio_against_buffered)])
