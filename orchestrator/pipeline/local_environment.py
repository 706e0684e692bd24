"""Environment of a local Ray cluster."""

LOCAL_ENVIRONMENT = {
    # Waiting OpenMP threads must not spin on cores that other processes need.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Large tensors come from the heap instead of being mapped and unmapped at every operation.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    # Stages and trials are processes that mostly wait; Ray's default expects no more of them than cores, and warns.
    "RAY_worker_maximum_startup_concurrency": "8",
    # Idle workers beyond the number of cores would be ended after a second, and every pipeline that follows would wait
    # seconds for new ones.
    "RAY_num_workers_soft_limit": "32",
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
}
"""Inherited by all processes of a local cluster. Set for the cluster as a whole: an environment for single actors
would cost each of them a process started from nothing."""
