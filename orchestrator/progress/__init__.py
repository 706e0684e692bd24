"""Progress of a command: run-wide counters, utilization of the actors, and the live display."""
