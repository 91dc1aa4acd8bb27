"""Composition root: YAML, command line, and the glue between the packages."""
