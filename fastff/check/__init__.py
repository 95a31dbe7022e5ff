"""Checks a student's own solution of the homework, question by question: `python -m fastff.check SCRIPT.py`.

script.py loads a file's definitions and process.py runs the checks in a process of their own. solution.py finds out how
the student's classes are used. layers.py, loss.py, network.py (Q4), optimizer.py with adam.py (Q5), evaluation.py,
training.py (Q6) and hints.py (Q7) are the checks; results.py says what a result is, report.py prints them.
"""

from fastff.check.notebook import check

__all__ = ["check"]
