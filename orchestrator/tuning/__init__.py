"""Ray Tune: which trial comes next, when it is stopped, what it does, and what becomes of its reports."""
