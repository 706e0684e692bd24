"""The rollout engine: one state, four verbs."""
