"""The pure core: what an account is, what it may do, and what each decision writes.

Owns the domain rules. Refuses IO, clocks, chance and concurrency: time, prices and identities are
arguments. The same code serves live trading, replay, dry runs and simulation (G9).
"""
