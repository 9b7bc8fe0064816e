"""Worlds whose truth is known: each draws clips, says who is on screen when, and measures it."""
