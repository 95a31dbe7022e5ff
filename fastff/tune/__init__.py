"""`python -m fastff.tune` searches for good options with Optuna, which is imported only when a search starts."""
