"""From many samples to one result: estimators and their intervals."""
