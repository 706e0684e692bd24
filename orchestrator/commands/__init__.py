"""The commands of `latentswarm`."""
