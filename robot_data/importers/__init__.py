"""Recordings of other ecosystems, brought into the episode store."""
