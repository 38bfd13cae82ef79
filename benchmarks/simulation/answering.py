"""Answering: the loop of a side. Standard library only: it also runs in the peers' environments."""

import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

Prepared = TypeVar("Prepared")


def answer(prepare: Callable[[], Prepared], work: Callable[[Prepared], object]) -> None:
    """Do one round for each line that comes in, the task as many times as it says. What is prepared is not timed, nor
    is letting go of what was made."""
    for line in sys.stdin:
        times, seconds, cpu_s = int(line), 0.0, 0.0
        for _ in range(times):
            prepared = prepare()
            gc.collect()
            began, cpu_began = time.perf_counter(), time.process_time()
            made = work(prepared)
            seconds += time.perf_counter() - began
            cpu_s += time.process_time() - cpu_began
            del made
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
        print(json.dumps({"seconds": seconds / times, "cpu_s": cpu_s / times, "peak_mb": peak_mb}), flush=True)
