"""Commands: a verb is a file, its ``Settings`` beside ``run``."""
