"""Where plays are kept: the outbox on the disk, Redis, the lease, the embedded server."""
