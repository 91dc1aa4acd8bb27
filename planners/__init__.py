"""Planning with a world model: search, objective, sub-goals, agent and loop."""
