#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The life of the module and its mounts: load, mount, use, unmount, unload.

Nothing may stay behind: the lower can be unmounted and is clean, the module
can be unloaded, and both can be done again and again.
"""

import contextlib
import glob
import os
import time

from harness import (LOWER, MODULE, PATIENCE, UPPER, Failure, disk, fsck, load, main,
                     make_lower, module_loaded, mounted, must, must_fail, run, stack, start,
                     statistics)

ROUNDS = 20
MOUNTS = 50


def unload():
    """Unloads the module if it is there."""
    if module_loaded():
        must("rmmod diofs")


def is_open(name):
    """Whether a process has this file open."""
    for descriptor in glob.iglob("/proc/[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) == name:
                return True
    return False


def write_some(directory, mib=1):
    """Cached and direct writes, one after the other, to one new file."""
    name = os.path.join(directory, "file")
    must(f"dd if=/dev/urandom of={name} bs=64k count={mib * 16} status=none")
    must(f"dd if=/dev/zero of={name} bs=4k count=4 seek=8 conv=notrunc oflag=direct status=none")
    return name


def again_and_again():
    """Load, mount, write, unmount, check, unload: twenty times."""
    make_lower(disk(0), "ext4")
    for number in range(ROUNDS):
        must(f"insmod {MODULE}")
        with mounted(disk(0), LOWER, "ext4"):
            directory = f"{LOWER}/round{number}"
            os.mkdir(directory)
            with mounted(directory, UPPER, "diofs"):
                write_some(UPPER)
        fsck(disk(0))
        must("rmmod diofs")


def mount_again_while_loaded():
    """Mount and unmount the same directory many times under one module."""
    with stack(disk(0), "ext4") as (directory, upper):
        name = write_some(upper)
        before = must(f"sha256sum {name}").split()[0]
        for _ in range(ROUNDS):
            must(f"umount {upper}")
            must(f"mount -t diofs {directory} {upper}")
        if must(f"sha256sum {name}").split()[0] != before:
            raise Failure("the file changed from one mount to the next")


def many_mounts():
    """Fifty mounts at once, each with a file, gone in another order."""
    load()
    make_lower(disk(0), "ext4")
    with mounted(disk(0), LOWER, "ext4"):
        points = []
        for number in range(MOUNTS):
            directory, point = f"{LOWER}/d{number}", f"/mnt/many/{number}"
            os.makedirs(directory)
            os.makedirs(point, exist_ok=True)
            must(f"mount -t diofs {directory} {point}")
            points.append(point)
            with open(f"{point}/name", "w") as file:
                file.write(point)
        for point in sorted(points):
            with open(f"{point}/name") as file:
                if file.read() != point:
                    raise Failure(f"{point} shows another mount's file")
        for point in sorted(points):
            must(f"umount {point}")
    fsck(disk(0))
    unload()


def dirty_data_reach_the_lower():
    """What was written and not synced is on the lower after unmount."""
    load()
    make_lower(disk(0), "ext4")
    with mounted(disk(0), LOWER, "ext4"):
        directory = f"{LOWER}/dir"
        os.mkdir(directory)
        with mounted(directory, UPPER, "diofs"):
            name = write_some(UPPER, 32)
            expected = must(f"sha256sum {name}").split()[0]
        if must(f"sha256sum {directory}/file").split()[0] != expected:
            raise Failure("the lower file differs after unmount")
    with mounted(disk(0), LOWER, "ext4"):
        if must(f"sha256sum {LOWER}/dir/file").split()[0] != expected:
            raise Failure("the lower file differs after the lower was mounted again")
    fsck(disk(0))


def still_runs(fio):
    """The load has to last."""
    if fio.poll() is not None:
        raise Failure("fio ended early: " + fio.communicate()[0].strip())


def wait_until(fio, does, ready, bound=60):
    """Until the load does what it is for."""
    deadline = time.monotonic() + bound * PATIENCE
    while not ready():
        still_runs(fio)
        if time.monotonic() > deadline:
            raise Failure(f"fio does not {does}")
        time.sleep(0.1)


def busy_under_load():
    """Unmount while a process reads and writes says EBUSY, later succeeds."""
    with stack(disk(0), "ext4") as (_, upper):
        name = write_some(upper, 8)
        load_on_it = start(f"fio --name=load --filename={name} --rw=randrw --bs=4k --size=8m "
                           f"--time_based --runtime={60 * PATIENCE} --ioengine=libaio --direct=1 --iodepth=8")
        try:
            wait_until(load_on_it, "start", lambda: is_open(name), bound=30)
            for _ in range(10):
                still_runs(load_on_it)
                must_fail(f"umount {upper}", "busy")
                time.sleep(0.2)
        finally:
            load_on_it.terminate()
            load_on_it.wait(30 * PATIENCE)
    fsck(disk(0))


def umount_when_left(upper):
    """What a killed process had in flight through io_uring holds its file for a moment
    longer than the process lives."""
    deadline = time.monotonic() + 10 * PATIENCE
    while run(f"umount {upper}")[0] != 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    must_fail(f"umount {upper}", "not mounted")


def killed_under_load():
    """A process that dies with requests in flight leaves nothing behind."""
    with stack(disk(0), "ext4") as (directory, upper):
        for engine in "libaio", "io_uring":
            before = statistics()["dio_writes"]
            load_on_it = start(f"fio --name={engine} --directory={upper} --rw=randwrite --bs=64k "
                               f"--size=16m --time_based --runtime={300 * PATIENCE} --ioengine={engine} "
                               "--direct=1 --iodepth=32 --thread=1")
            try:
                wait_until(load_on_it, "write directly", lambda since=before: statistics()["dio_writes"] > since)
                time.sleep(2 * PATIENCE)
                still_runs(load_on_it)
            finally:
                load_on_it.kill()
                load_on_it.wait(30 * PATIENCE)
            umount_when_left(upper)
            must(f"mount -t diofs {directory} {upper}")
    fsck(disk(0))
    unload()


def lower_stays_while_used():
    """The lower cannot go away below a mount: its unmount says EBUSY, or takes
    away its name only. It is gone right after the unmount of diofs."""
    load()
    make_lower(disk(0), "ext4")
    must(f"mount -t ext4 {disk(0)} {LOWER}")
    os.mkdir(f"{LOWER}/dir")
    with mounted(f"{LOWER}/dir", UPPER, "diofs"):
        busy = run(f"umount {LOWER}")[0] != 0
        write_some(UPPER)
    if busy:
        must(f"umount {LOWER}")
    fsck(disk(0))


def module_stays_while_used():
    """The module cannot be unloaded below a mount, and can right after it."""
    with stack(disk(0), "ext4") as (_, upper):
        write_some(upper)
        must_fail("rmmod diofs", "in use")
    unload()


def loaded_once():
    """A second load says that it is there already."""
    load()
    must_fail(f"insmod {MODULE}", "file exists")
    unload()


main([(test.__name__, test) for test in (
    loaded_once, again_and_again, mount_again_while_loaded, many_mounts,
    dirty_data_reach_the_lower, busy_under_load, killed_under_load,
    lower_stays_while_used, module_stays_while_used)])
