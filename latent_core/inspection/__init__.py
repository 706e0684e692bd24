"""Looking at checkpoints: what they are, and what a trajectory of theirs looks like."""
