"""Policy training as a Ray Train job with actors that roll out: plan, order, asking, worker, tracking, report."""
