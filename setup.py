"""The long description: README.md with links that lead to the repository, as PyPI has no files beside it.

All else about the package stands in pyproject.toml, the repository's address too.
"""

import re
from pathlib import Path

from setuptools import setup

REPOSITORY = re.search(r'^Repository = "(.+)"$', Path("pyproject.toml").read_text("utf-8"), re.MULTILINE)[1]


readme = Path("README.md").read_text("utf-8")
readme = re.sub(r'(?<=src=")(?!https:)', f"{REPOSITORY}/raw/main/", readme)  # pictures
readme = re.sub(r"(?<=\]\()(?!https:|#)", f"{REPOSITORY}/blob/main/", readme)  # links of Markdown
setup(long_description=readme, long_description_content_type="text/markdown")
