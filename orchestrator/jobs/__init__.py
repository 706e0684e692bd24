"""What a command does where that takes more than a page: annotation, reports, status, sweeps, LatentRM training."""
