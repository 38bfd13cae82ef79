"""Two ways to run: quick by default, `HYPOTHESIS_PROFILE=long` to search for minutes."""

import os

from hypothesis import HealthCheck, settings

for name, examples, steps in (("quick", 200, 30), ("long", 5_000, 60)):
    settings.register_profile(
        name,
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        print_blob=True,
        derandomize=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
