"""The pipeline of Ray Data: rollouts, scores and labels, shard by shard."""
