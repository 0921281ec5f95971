# SPDX-License-Identifier: GPL-2.0
"""A small test runner for the guest, and hands for filesystems.

A suite is a list of (name, function) pairs. Each result is one line, printed
when it is known: `ok NAME (1.2 s)`, `FAIL NAME: reason`, `skip NAME: reason`;
the last line is `N passed, N failed, N skipped`.
"""

import contextlib
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import traceback

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULE = os.environ.get("MODULE") or os.path.join(REPO, "diofs.ko")
LOWER = "/lower"
UPPER = "/mnt/diofs"
# Bounds of time are multiplied by this: a kernel that checks itself is slow.
PATIENCE = int(os.environ.get("DIOFS_PATIENCE") or 1)
# STAND_IN=1 tests the tests: a bind mount takes the place of diofs.
STAND_IN = os.environ.get("STAND_IN")
# Of the flags in /proc/PID/stat: a thread of the kernel, include/linux/sched.h.
PF_KTHREAD = 0x00200000


class Failure(Exception):
    """What a test found wrong."""


class Skip(Exception):
    """What this machine lacks for a test."""


def start(command, output=subprocess.PIPE):
    """Starts a command (a string is split as the shell would, without a shell)."""
    words = shlex.split(command) if isinstance(command, str) else command
    return subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True)


def run(command, timeout=120):
    """Runs a command; returns its status and output. A hang is a failure, and
    what hangs in the kernel is left behind: nobody could wait for it. It may be a
    child of the command, which keeps a pipe open; so the output goes to a file."""
    with tempfile.TemporaryFile("w+") as output:
        process = start(command, output)
        try:
            process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            tell_of_threads()
            process.kill()
            raise Failure(f"'{process.args[0]}' hangs: no end after {timeout * PATIENCE} s "
                          "(threads are shown above, blocked tasks in the kernel log)") from None
        output.seek(0)
        return process.returncode, output.read().strip()


def tell_of_threads():
    """Has the kernel show the threads that it cannot wake, and shows what those of programs do.
    Nothing is read for which the kernel takes the lock of a memory map: that may be what hangs."""
    with contextlib.suppress(OSError), open("/proc/sysrq-trigger", "w") as trigger:
        trigger.write("w")
    for task in sorted(glob.glob("/proc/[0-9]*/task/[0-9]*")):
        with contextlib.suppress(OSError):
            with open(os.path.join(task, "stat")) as file:
                name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
            state, flags = rest.split()[0], int(rest.split()[6])
            if flags & PF_KTHREAD:
                continue
            with open(os.path.join(task, "stack")) as file:
                calls = [line.split()[-1].split("+")[0] for line in file]
            # What runs at this moment has no stack to be seen.
            print(f"    {task}: '{name}' is {state} in {' < '.join(calls) or '?'}", flush=True)


def must(command, timeout=120):
    """Runs a command that has to succeed; returns its output."""
    status, output = run(command, timeout)
    if status != 0:
        shown = command if isinstance(command, str) else " ".join(command)
        raise Failure(f"'{shown}' exits with {status}: {output or 'no message'}")
    return output


def must_fail(command, message):
    """Runs a command that has to fail with this message."""
    status, output = run(command)
    if status == 0:
        raise Failure(f"'{command}' succeeds, but should say '{message}'")
    if message.lower() not in output.lower():
        raise Failure(f"'{command}' should say '{message}', says '{output}'")


def disk(number):
    """One of the guest's disks."""
    path = os.environ.get(f"DIOFS_DISK{number}")
    if path is None:
        raise Failure(f"there is no DIOFS_DISK{number}: run in scripts/vm")
    return path


def lowers(default="ext2 ext3 ext4"):
    """The lower filesystems to test on; LOWERS overrides the default."""
    return (os.environ.get("LOWERS") or default).split()


def make_lower(device, kind):
    """A fresh filesystem `ext4` or, with its block size, `ext4-1k`."""
    kind, _, block = kind.partition("-")
    command = f"mkfs.{kind} -q -F"
    if block.endswith("k"):
        command += f" -b {int(block[:-1]) * 1024}"
    must(f"{command} {device}")


def module_loaded():
    """Whether diofs is in the kernel."""
    with open("/proc/modules") as modules:
        return any(line.startswith("diofs ") for line in modules)


def load():
    """Loads the module unless it is there."""
    if not STAND_IN and not module_loaded():
        must(f"insmod {MODULE}")


@contextlib.contextmanager
def mounted(source, point, kind, options=""):
    """A mount for as long as the block lasts."""
    os.makedirs(point, exist_ok=True)
    if kind == "diofs" and STAND_IN:
        must(["mount", "--bind", source, point])
    else:
        must(["mount", "-t", kind] + (["-o", options] if options else []) + [source, point])
    try:
        yield point
    except BaseException:
        run(["umount", point])
        raise
    must(["umount", point])


@contextlib.contextmanager
def stack(device, kind, options=""):
    """diofs over a directory of a fresh lower `ext4`, `ext4-1k` or, with all data in the
    journal, `ext4-journal`; yields (lower dir, diofs dir)."""
    load()
    make_lower(device, kind)
    name, _, block = kind.partition("-")
    if block == "journal":
        options = f"{options},data=journal".lstrip(",")
    with mounted(device, LOWER, name, options):
        directory = os.path.join(LOWER, "dir")
        os.mkdir(directory)
        with mounted(directory, UPPER, "diofs"):
            yield directory, UPPER


def statistics():
    """What the module counted for its mount."""
    with open("/proc/self/mountstats") as mounts:
        _, _, mine = mounts.read().partition(f" mounted on {UPPER} with fstype diofs")
    mine = mine.partition("\ndevice ")[0]
    return {name: int(count) for name, count in re.findall(r"^\t(\w+): (\d+)$", mine, re.M)}


def fsck(device):
    """The unmounted lower has to be gone from the kernel, and clean."""
    if os.path.exists(f"/sys/fs/ext4/{os.path.basename(os.path.realpath(device))}"):
        raise Failure(f"the filesystem on {device} is unmounted, but something still holds it")
    must(f"e2fsck -f -n {device}")


class Report:
    """Counts results and prints each as a line."""

    def __init__(self):
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}

    def ok(self, name, seconds, note=""):
        """A test passed; a note says what was measured."""
        self.counts["passed"] += 1
        print(f"ok {name} ({seconds:.1f} s){': ' + note if note else ''}", flush=True)

    def fail(self, name, reason):
        """A test failed; further lines of the reason are indented below."""
        self.counts["failed"] += 1
        lines = str(reason).splitlines() or ["no reason given"]
        print(f"FAIL {name}: {lines[0]}", flush=True)
        for line in lines[1:20]:
            print(f"    {line}", flush=True)

    def skip(self, name, reason):
        """A test cannot run here; the kernels made for the tests have to have all they need."""
        if "-debug-" in os.uname().release:
            self.fail(name, f"{reason}, though this kernel is made to have it")
            return
        self.counts["skipped"] += 1
        print(f"skip {name}: {reason}", flush=True)

    def run(self, name, function):
        """Runs one test; its return value, if any, is the note."""
        begin = time.monotonic()
        try:
            note = function()
        except Skip as reason:
            self.skip(name, reason)
        except Failure as reason:
            self.fail(name, reason)
        except Exception:  # a bug in the test is a failure, not the end
            self.fail(name, traceback.format_exc().strip().splitlines()[-1]
                      + "\n" + traceback.format_exc())
        else:
            self.ok(name, time.monotonic() - begin, note or "")

    def finish(self):
        """The last line, and the status for exit."""
        print(", ".join(f"{n} {what}" for what, n in self.counts.items()), flush=True)
        return 1 if self.counts["failed"] else 0


def main(tests):
    """Runs the tests, or those whose name contains one of the arguments."""
    report = Report()
    chosen = [(name, function) for name, function in tests
              if len(sys.argv) == 1 or any(word in name for word in sys.argv[1:])]
    if not chosen:
        sys.exit(f"no test has a name with {' or '.join(sys.argv[1:])} in it: "
                 + " ".join(name for name, _ in tests))
    for name, function in chosen:
        report.run(name, function)
    sys.exit(report.finish())
