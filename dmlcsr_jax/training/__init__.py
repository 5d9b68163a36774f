"""Training: schedules, steps, self-regulation, checkpoints and the loop."""
