"""LatentRM training as a Ray Train job, the parts of `latentswarm train-rm`: plan, data, worker, export, tracking."""
