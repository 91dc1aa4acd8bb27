"""Goal-image planning for robot arms with a latent world model."""
