"""The poll loop and what belongs to it: recorder, backfiller, gap monitor, alerts, failover."""
