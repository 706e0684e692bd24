"""The command line and everything behind it: experiments, Ray pipelines, sweeps, the store, tracking and reports."""
