"""Deletes plays so that nothing brings them back."""
