"""The science of latentswarm: models, rollouts, samplers, tasks and estimators.

Everything here runs in one process on torch and transformers; nothing here knows about Ray or MLflow.
"""

__version__ = "0.1.0"
