"""A Spotify that is not one: a listener with a known history, the services' face of it, faults on demand.

From the ground up: `bodies` (what has JSON of its own), `catalogue` (what there is to hear), `timeline`
(what the player did, and the truth about it), `history` (writes a timeline), `habits`, `hearing` and
`listener` (let chance write one), `player`, `recently` and `accounts` (the endpoints), `faults`,
`service` (all of them together), `virtual` (the same in virtual time), `server` (the same over HTTP).

Nothing outside this package, the demo and the tests knows of it.
"""
