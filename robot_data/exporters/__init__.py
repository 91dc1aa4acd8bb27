"""Stored episodes in the formats of other ecosystems."""
