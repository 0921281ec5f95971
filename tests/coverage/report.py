#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Which lines of the module ran: a table, and the lines that never did.

    report.py [--save] KO=DIRECTORY...

KO is an instrumented diofs.ko, DIRECTORY what guests with it left: below it are the
counters-* of tests/coverage/bin/rmmod. The counters become a raw profile as LLVM's
runtime would have written it (compiler-rt/lib/profile/InstrProfilingWriter.c), and
LLVM's tools do the rest. Lines that several modules have are added up. With --save the
table takes the place of the one in Documentation/coverage.rst.
"""

import argparse
import collections
import glob
import os
import re
import struct
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tests"))

from page import put_table  # noqa: E402

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
            found = re.search(r"(rust/(?:fs|vfs|pure)/.*|rust/diofs\.rs)$", rest)
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


def tally(lines):
    """(name, lines, lines that ran, those that never did) of each file, then of each part."""
    files = []
    parts = collections.defaultdict(lambda: [0, 0])
    for name, counts in sorted(lines.items()):
        never = [number for number, count in counts.items() if count == 0]
        files.append((name, len(counts), len(counts) - len(never), never))
        part = parts[os.path.dirname(name) + "/"]
        part[0] += len(counts)
        part[1] += len(counts) - len(never)
    return files, [(name, every, ran, []) for name, (every, ran) in sorted(parts.items())]


def never_run(lines):
    """The lines of rust/fs that never ran, with their text."""
    for name, counts in sorted(lines.items()):
        if not name.startswith("rust/fs/"):
            continue
        with open(os.path.join(REPO, name), encoding="utf-8") as file:
            text = file.read().splitlines()
        for number, count in sorted(counts.items()):
            if count == 0:
                yield f"{name}:{number}: {text[number - 1].strip()}"


def page(files, parts, missing):
    """The same as reStructuredText."""
    rule = "=" * 26 + " ===== ===== ========"
    rows = [f"{name:26} {every:5} {ran:5} {100 * ran / every:6.1f} %"
            for name, every, ran, _ in files + parts]
    return [rule, f"{'File':26} Lines   Run    Share", rule, *rows, rule, "",
            "Never run, in ``rust/fs``::", "", *(f"    {line}" for line in missing)]


def main():
    """Prints the table, and the lines that never ran with their text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="the table goes to the page as well")
    parser.add_argument("modules", nargs="+", metavar="KO=DIRECTORY")
    args = parser.parse_args()
    lines = collections.defaultdict(dict)
    for argument in args.modules:
        module, _, directory = argument.partition("=")
        for name, counts in lines_of(module, directory).items():
            for number, count in counts.items():
                lines[name][number] = lines[name].get(number, 0) + count
    files, parts = tally(lines)
    missing = list(never_run(lines))
    print(f"{'file':28}{'lines':>7}{'run':>7}{'':>8}  never run")
    for name, every, ran, never in files + parts:
        print(f"{name:28}{every:7}{ran:7}{100 * ran / every:7.1f}%  {ranges(never)}".rstrip())
    print(*missing, sep="\n")
    if args.save:
        put_table(page(files, parts, missing), os.path.join(REPO, "Documentation/coverage.rst"))


main()
