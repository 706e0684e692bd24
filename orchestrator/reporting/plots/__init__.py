"""Pictures of curves and trials."""
