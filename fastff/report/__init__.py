"""Writes a finished run up as a report to hand in, in HTML and as a PDF, with figures, options and derivations.

finished.py reads the run's folder, contents.py puts the report's texts and figures together, typeset.py turns them into
both files with Typst, from report.typ and derivations.typ. The command `python -m fastff.report` is in __main__.py.
"""
