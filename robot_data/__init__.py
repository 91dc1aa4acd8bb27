"""Robot data: schema, poses, crash-safe episodes, windows, latents.  Numpy and zarr, no torch."""
