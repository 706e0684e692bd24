"""Progress: counters that every process reports to, and how they are shown."""
