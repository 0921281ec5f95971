#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""fio writes with checksums through diofs and reads back what it wrote.

Each engine verifies its own files; then another engine, of the other mode,
verifies the same files: what was written direct is read through the cache and
what was written through the cache or a mapping is read direct.
"""

import contextlib
import json
import sys
import time

from harness import PATIENCE, Failure, Report, disk, fsck, lowers, run, stack

ENGINES = {
    "libaio-direct": ("--ioengine=libaio", "--direct=1", "--iodepth=16"),
    "io_uring-direct": ("--ioengine=io_uring", "--direct=1", "--iodepth=16"),
    "psync-buffered": ("--ioengine=psync",),
    "mmap": ("--ioengine=mmap",),
}
OTHER = {
    "libaio-direct": "psync-buffered",
    "io_uring-direct": "mmap",
    "psync-buffered": "io_uring-direct",
    "mmap": "libaio-direct",
}
# block size: MiB of the file (a short one where there are many requests)
SIZES = {"512": 1, "4k": 8, "64k": 8, "1m": 16}
# A kernel that checks itself looks at each request; it need not be as many.
SHORTER = 1 if PATIENCE == 1 else 4
PATTERNS = {"sequential": "write", "random": "randwrite"}


def jobs(directory, engine, verify_only):
    """The fio command for all patterns and block sizes with one engine."""
    command = ["fio", "--output-format=json", f"--directory={directory}", "--group_reporting=0",
               "--verify=crc32c", "--verify_fatal=1", "--allow_file_create=1", "--continue_on_error=none",
               "--filename_format=$jobname", *ENGINES[engine]]
    command += ["--verify_only=1"] if verify_only else ["--do_verify=1"]
    for pattern, rw in PATTERNS.items():
        for bs, size in SIZES.items():
            command += [f"--name={pattern}-{bs}", "--stonewall", f"--rw={rw}", f"--bs={bs}",
                        f"--size={size * 1024 // SHORTER}k"]
    return command


def parse(output):
    """fio's JSON, which its error messages precede."""
    begin = output.find("\n{") + 1 if not output.startswith("{") else 0
    with contextlib.suppress(ValueError):
        return json.JSONDecoder().raw_decode(output[begin:])[0]["jobs"]
    return []


def check(report, prefix, command):
    """One fio run: one line for each of its jobs."""
    begin = time.monotonic()
    status, output = run(command, timeout=600)
    found = {job["jobname"]: job for job in parse(output)}
    messages = "\n".join(line for line in output.splitlines() if line.startswith(("fio:", "verify:", "crc32c:")))
    for pattern in PATTERNS:
        for bs in SIZES:
            name = f"{pattern}-{bs}"
            job = found.get(name)
            if job is None:
                report.fail(f"{prefix}/{name}", f"fio (status {status}) says nothing of it\n{messages or output}")
            elif job["error"]:
                report.fail(f"{prefix}/{name}", f"error {job['error']}\n{messages}")
            elif not job["read"]["total_ios"]:
                report.fail(f"{prefix}/{name}", f"nothing was verified\n{messages}")
            else:
                report.ok(f"{prefix}/{name}", (job["read"]["runtime"] + job["write"]["runtime"]) / 1000)
    if status != 0 and all(not job["error"] for job in found.values()):
        report.fail(prefix, f"fio exits with {status} after {time.monotonic() - begin:.0f} s\n{messages}")


def one_lower(report, kind, words):
    """All engines on one lower."""
    for engine in ENGINES:
        prefix = f"{kind}/{engine}"
        if words and not any(word in prefix for word in words):
            continue
        with stack(disk(0), kind) as (_, upper):
            check(report, prefix, jobs(upper, engine, verify_only=False))
            check(report, f"{prefix}/read-by-{OTHER[engine]}",
                  jobs(upper, OTHER[engine], verify_only=True))
        fsck(disk(0))


def main():
    """Every lower; arguments choose lowers or engines by a part of their name."""
    report = Report()
    for kind in lowers():
        try:
            one_lower(report, kind, sys.argv[1:])
        except Failure as reason:
            report.fail(kind, reason)
    sys.exit(report.finish())


main()
