"""Video encoder, action-conditioned predictor, and their training.  Torch only."""
