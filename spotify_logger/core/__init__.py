"""The decisions: player state, tracker, plays, matching, schedule. Pure: no clock, network, disk or Redis."""
