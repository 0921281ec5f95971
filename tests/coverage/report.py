#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Which lines of the module ran: a table, and the lines that never did.

    report.py KO=DIRECTORY...

KO is an instrumented diofs.ko, DIRECTORY what guests with it left: below it are the
counters-* of tests/coverage/bin/rmmod. The counters become a raw profile as LLVM's
runtime would have written it (compiler-rt/lib/profile/InstrProfilingWriter.c), and
LLVM's tools do the rest. Lines that several modules have are added up.
"""

import collections
import glob
import os
import re
import struct
import subprocess
import sys

# The raw profile of LLVM 19, and one record of __llvm_prf_data in it. Its tools refuse a
# profile of another version than their own.
VERSION = 10
RECORD = 64
MAGIC = 0xFF6C70726F667281


def run(*command):
    """The output of a command that must succeed."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def section(module, name):
    """The bytes of a section of an object file."""
    out = f"{module}.section"
    run("objcopy", "-O", "binary", f"--only-section={name}",
        f"--set-section-flags={name}=alloc", module, out)
    with open(out, "rb") as file:
        data = file.read()
    os.unlink(out)
    return data


def raw_profile(module, counters, out):
    """Writes the raw profile of one dump of the counters."""
    def read(name):
        with open(os.path.join(counters, name), "rb") as file:
            return file.read()

    data, counts = read("__llvm_prf_data"), read("__llvm_prf_cnts")
    names = section(module, "__llvm_prf_names")
    at = {name: int(read(f"{name}.address"), 16)
          for name in ("__llvm_prf_data", "__llvm_prf_cnts")}
    delta = (at["__llvm_prf_cnts"] - at["__llvm_prf_data"]) % 2**64
    header = struct.pack("<16Q", MAGIC, VERSION, 0, len(data) // RECORD, 0,
                         len(counts) // 8, 0, 0, 0, len(names), delta, 0, 0, 0, 0, 2)
    with open(out, "wb") as file:
        file.write(header + data + counts + names + b"\0" * (-len(names) % 8))


def lines_of(module, directory):
    """{file: {line: count}} of all that guests left below a directory."""
    profiles = []
    for number, counters in enumerate(glob.glob(f"{directory}/**/counters-*", recursive=True)):
        profiles.append(f"{directory}/{number}.profraw")
        raw_profile(module, counters, profiles[-1])
    if not profiles:
        sys.exit(f"no counters below {directory}: no guest has unloaded the module")
    profile = f"{directory}/all.profdata"
    run("llvm-profdata", "merge", "-sparse", "-o", profile, *profiles)
    lines = collections.defaultdict(dict)
    name = None
    for line in run("llvm-cov", "export", "-format=lcov", f"-instr-profile={profile}",
                    module).splitlines():
        kind, _, rest = line.partition(":")
        if kind == "SF":
            found = re.search(r"(rust/(?:fs|vfs)/.*|rust/diofs\.rs)$", rest)
            name = found and found[1]
        elif kind == "DA" and name:
            number, count = map(int, rest.split(",")[:2])
            lines[name][number] = max(count, lines[name].get(number, 0))
    return lines


def ranges(numbers):
    """'3-5, 9' of 3, 4, 5, 9."""
    runs = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def main():
    """Prints the table, and the lines that never ran with their text."""
    lines = collections.defaultdict(dict)
    for argument in sys.argv[1:]:
        module, _, directory = argument.partition("=")
        for name, counts in lines_of(module, directory).items():
            for number, count in counts.items():
                lines[name][number] = lines[name].get(number, 0) + count
    print(f"{'file':28}{'lines':>7}{'run':>7}{'':>8}  never run")
    total = collections.Counter()
    for name in sorted(lines):
        counts = lines[name]
        never = [n for n, count in counts.items() if count == 0]
        part = os.path.dirname(name)
        total[part, "all"] += len(counts)
        total[part, "run"] += len(counts) - len(never)
        share = 100 * (len(counts) - len(never)) / len(counts)
        print(f"{name:28}{len(counts):7}{len(counts) - len(never):7}{share:7.1f}%  {ranges(never)}")
    for part in sorted({part for part, _ in total}):
        every, hit = total[part, "all"], total[part, "run"]
        print(f"{part + '/':28}{every:7}{hit:7}{100 * hit / every:7.1f}%")
    print()
    for name in sorted(lines):
        if not name.startswith("rust/fs/"):
            continue
        with open(name, encoding="utf-8") as file:
            text = file.read().splitlines()
        for number, count in sorted(lines[name].items()):
            if count == 0:
                print(f"{name}:{number}: {text[number - 1].strip()}")


main()
