"""Measure alertctl beside yardsticks in the same run: `python -m tests.benchmarks`.

Not part of the tests. Each benchmark is one file (`deliver.py`, `accept.py`, …); `rows.py` lists them. `children/`
holds the programs that run as processes: the provider's double, the load generator, the yardsticks.
"""
