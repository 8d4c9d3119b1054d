"""Delete plays permanently."""
