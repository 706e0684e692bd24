"""The store: content-addressed folders of trajectories, and of the scores, beams and labels that belong to them."""
