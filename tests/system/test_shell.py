"""A command that fastff tells people to type does what it says: a shell gives the process these words."""

import json
import subprocess
import sys

import pytest

from fastff.system.shell import command_line

ECHO = "import json, sys; print(json.dumps(sys.argv[1:]))"


@pytest.mark.parametrize("word", ["runs", "my runs", "it's", "runs/a b/c", "C:\\Users\\a b\\runs"])
def test_a_shell_takes_the_words_for_what_they_are(word):
    typed = command_line([sys.executable, "-c", ECHO.replace('"', "'"), "--out", word])
    done = subprocess.run(typed, shell=True, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["--out", word]


def test_plain_words_stay_plain():
    assert command_line(["--resume", "--out", "runs"]) == "--resume --out runs"
