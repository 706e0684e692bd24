"""Search over latent steps: beams that are scored, kept and branched while a trajectory is computed."""
