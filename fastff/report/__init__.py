"""A finished run as a hand-in: one HTML file and one PDF, with figures, options and typeset derivations.

finished.py reads the run's folder, contents.py decides what the report says of it, typeset.py has Typst set it, from
report.typ and derivations.typ, once for both forms. (`python -m fastff.report` is in __main__.py.)
"""
