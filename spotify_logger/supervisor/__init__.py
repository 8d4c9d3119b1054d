"""Keeps the poll loop alive: restart policy, child processes, systemd."""
