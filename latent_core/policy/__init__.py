"""Policy training: reinforcement learning on the sampler's own rollouts; pure torch, one process or one of several."""
