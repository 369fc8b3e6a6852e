"""What the words mean: requests, jobs, states, outcomes. Pure values, no input or output."""
