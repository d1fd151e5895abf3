"""Engine around Lightning: tasks, schedule, checkpoints, tracking."""
