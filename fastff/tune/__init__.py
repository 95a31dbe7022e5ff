"""The search for a better network: `python -m fastff.tune`. Needs optuna, which only `search` and `results` import."""
