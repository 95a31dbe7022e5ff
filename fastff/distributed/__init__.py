"""Training one network in several processes, on one machine or on many: `mpiexec -n 4 python -m fastff.train ...`.

Each process has a share of every batch's rows, and all have the same weights at every step (docs/scaling.md says what
that costs). Rank 0 is the command that everybody knows: it alone reads options, validates, saves, prints and draws. The
others (follow.py) do what it tells them.

group.py   the processes, and how they talk       programs.py  what stands between the way back and the update
steps.py   an epoch in shares of its batches      home.py      where the parameters live
lead.py    rank 0                                 follow.py    the others
"""


def asked(arguments: list[str]) -> bool:
    """Whether a command line asks for it; before it is parsed, as rank 0 alone says what is wrong with it."""
    return any(argument.split("=")[0] == "--distributed" for argument in arguments)
