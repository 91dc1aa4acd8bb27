"""Planning with a world model: search, objective, sub-goals and agents.

``robot_data.loop`` runs them.
"""
