#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""How soon diorace finds lost direct writes on a bare filesystem.

False sharing on each of LOWERS (default xfs) with each of SEEDS (default ten),
asynchronous direct writers beside cached ones, until the first finding or for
SECONDS_EACH. A finding has to name the acknowledged direct write that is gone.
Prints the seconds of each seed, and the median.
"""

import functools
import json
import os
import statistics

from bare import DIORACE, place
from harness import Failure, main, run

SECONDS = float(os.environ.get("SECONDS_EACH") or 60)
SEEDS = (os.environ.get("SEEDS") or "1 2 3 4 5 6 7 8 9 10").split()
KINDS = (os.environ.get("LOWERS") or "xfs").split()
ENGINES = "libaio:write,uring:write,buffered:write,mmap:write,buffered:read,direct:read,mmap:read,advice"


def first(point, seed):
    """Seconds to the first finding of a seed, and the finding."""
    path = os.path.join(os.environ.get("DIOFS_OUT", "/tmp"), f"first-{seed}.json")
    status, output = run(
        [DIORACE, "run", point, "--scenario", "false-sharing", "--engines", ENGINES,
         "--duration", str(SECONDS), "--seed", seed, "--until", "collision", "--profile", "bare",
         "--quiet", "--json", path], timeout=SECONDS + 120)
    if status == 0:
        return None, None
    if status != 2:
        raise Failure(f"diorace exits with {status}\n{output[-2000:]}")
    with open(path) as file:
        result = json.load(file)["scenarios"][0]
    for finding in result["findings"]:
        by = finding["superseded_by"] or ""
        if finding["class"] in ("lost", "stale") and " (direct, " in by:
            return result["seconds"], finding
    raise Failure(f"seed {seed}: no finding names a direct write: {result['collisions']}")


def measure(kind):
    """All seeds on one filesystem."""
    times, classes = [], {}
    with place(kind) as point:
        for seed in SEEDS:
            seconds, finding = first(point, seed)
            if finding is None:
                print(f"    seed {seed}: nothing in {SECONDS:g} s", flush=True)
                continue
            times.append(seconds)
            what = finding["class"]
            classes[what] = classes.get(what, 0) + 1
            print(f"    seed {seed}: {seconds:.2f} s: {what} at {finding['offset']}: saw "
                  f"{finding['seen']}, after {finding['superseded_by']}; overlapping the read: "
                  f"{len(finding['overlapping'])}; {finding['persistence']}", flush=True)
    if not times:
        raise Failure(f"nothing was found with {len(SEEDS)} seeds of {SECONDS:g} s")
    found = ", ".join(f"{n} {what}" for what, n in sorted(classes.items()))
    return (f"found with {len(times)} of {len(SEEDS)} seeds ({found}); seconds: least "
            f"{min(times):.2f}, median {statistics.median(times):.2f}, most {max(times):.2f}")


if __name__ == "__main__":
    main([(f"first-finding.{kind}", functools.partial(measure, kind)) for kind in KINDS])
