"""The web page. It runs in a process of its own; the daemon does not depend on it."""
