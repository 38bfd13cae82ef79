"""The pure core: what an account is, what it may do, and what each decision writes.

Owns the domain rules. Refuses IO, clocks, chance and concurrency: time, prices and identities are
arguments. The same code serves live trading, replay, dry runs and simulation (G9).

Values are frozen msgspec structs that hold only values, so they make no cycles: with `gc=False` the collector, which
would walk through millions of them to find none, leaves them out.
What makes up an account is encoded without its defaults: what one never had takes no room in its snapshot and, read
back, is the one default that all share. That is for snapshots and messages; `canonical` leaves nothing out by it.
"""
