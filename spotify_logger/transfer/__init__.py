"""Plays on their way in and out, and what takes them away or checks them."""
