"""Train a LatentRM on labelled candidates; pure torch, one process or one of several."""
