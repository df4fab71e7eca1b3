"""How fast alertctl is, held against yardsticks that are measured in the same run: `python -m tests.benchmarks`.

Never part of the tests. Each row is one file (`deliver.py`, `accept.py`, …); `rows.py` lists them. What runs as a
process of its own lies in `children/`: the provider's double, the load generator, the yardsticks.
"""
