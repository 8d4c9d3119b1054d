"""A simulated Spotify: a listener whose plays are known, the endpoints that report them, faults on demand.

From the bottom up: `bodies` (the JSON objects), `catalog` and `demo_catalog` (what can be played), `timeline`
(what the player did, and which plays that makes), `history` (scripts a timeline), `habits`,
`listening_behavior` and `listener` (generate a random one), `player`, `recently_played` and `accounts` (the
endpoints), `faults`, `service` (everything together) and `server` (the service over HTTP). `logged_history`
makes up an existing log, `comparison` compares a log with the truth, and `demo` is `run.py --demo`.

Only the demo, the tests and the benchmarks use this package.
"""
