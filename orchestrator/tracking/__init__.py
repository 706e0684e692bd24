"""MLflow: one parent run per sweep, one child per trial, step = N. Only the driver writes, by way of a journal."""
