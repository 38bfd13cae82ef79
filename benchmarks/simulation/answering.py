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
    """Do one round for each line that comes in: what is prepared is not timed, nor is letting go of what was made."""
    for _ in sys.stdin:
        prepared = prepare()
        gc.collect()
        began = time.perf_counter()
        made = work(prepared)
        seconds = time.perf_counter() - began
        del made
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}), flush=True)
