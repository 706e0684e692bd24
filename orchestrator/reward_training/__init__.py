"""What `latentswarm train-rm` is made of."""
