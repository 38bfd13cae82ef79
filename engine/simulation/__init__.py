"""Simulation: the same rules over many accounts at once, without tables, clocks or a cluster.

Owns tables of prices, actions and policies over many accounts, the exact engine (the live core itself, tick by tick)
and the fast one (a compiled kernel, proven equal). Alone in `engine` it may use numpy, numba, pyarrow and polars, which
come with the extra `simulation`; nothing of `engine` outside imports it, so that the live core needs none of them.
It reads no file and no clock: what a run needs is handed in, and what it makes is handed out.
"""
