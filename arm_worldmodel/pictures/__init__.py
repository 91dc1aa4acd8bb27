"""Pictures of episodes, recordings and results: sheets, videos, figures, one web page.

Each module draws from plain numbers and images; none runs a model or a simulator.
"""
