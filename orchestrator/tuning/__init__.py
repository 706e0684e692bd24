"""Ray Tune integration: trial sources, searcher, concurrency limiter, scheduler, trainable and callback."""
