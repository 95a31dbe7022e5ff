"""How Sphinx makes the documentation site: `tox -e docs`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

import fastff  # noqa: E402

project = "fastff"
author = "the fastff developers"
copyright = f"2026, {author}"
release = version = fastff.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "parameter_tables",
]
exclude_patterns = ["_build", "**/*.ipynb", "gallery/*.py", "gallery/*.md5", "api/generated/README*"]
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4  # links such as scaling.md#many-networks-at-once, as on GitHub

# Every public name has a page of its own, made from its docstring.
autosummary_generate = True
smartquotes = False  # they make a dash of --
default_role = "literal"  # single backticks in docstrings
autodoc_typehints = "none"  # the docstrings say the types
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # autodoc lists them
numpydoc_xref_param_type = False
# Warnings, and so errors: https://numpydoc.readthedocs.io/en/latest/validation.html lists them.
numpydoc_validation_checks = {
    "GL01",  # text starts where it does elsewhere
    "GL03",  # no double blank lines
    "GL05",  # no tabs
    "GL06",  # no unknown section
    "GL07",  # sections in their order
    "GL08",  # there is a docstring
    "SS01",  # a summary
    "SS02",  # which starts with a capital
    "SS04",  # without leading spaces
    "PR01",  # every parameter is described
    "PR02",  # and nothing else
    "PR03",  # in the signature's order
    "PR04",  # with its type
    "PR07",  # in words
    "RT01",  # what is returned is described
    "RT03",
    "YD01",
}
# Config's fields have a table, the estimators' other parameters are scikit-learn's, and an error has its message only.
numpydoc_validation_exclude = {
    r"\.Config$",
    r"\.Config\.(?!with_split)",
    r"\.MLP\w+$",
    r"(Fastff|Argument|Data|Divergence|Stalled)Error$",
    r"\.(MissingExtra|NoRoom)$",
    r"check\.check$",
}
numpydoc_validation_overrides = {"SS02": [r"^[a-z0-9(|]", r"^\(", r"^y = ", r"^e\^z"]}

# What is there for networks and trainers, and not to be called by users.
INTERNAL = {
    "GROUPS", "array_names", "arrays", "check", "context", "contents", "criterion", "function", "gather", "holding",
    "hyper", "image_part", "inner", "kind", "lower", "lower_backward", "lower_forward", "lower_rows", "lower_targets",
    "lowers", "made_for", "memory", "move", "outer", "plain", "recorder", "reseed", "saved_as", "score",
    "setting_names", "settings", "share", "sync", "takes_weights", "updated", "what_to_fit", "without_last", "notes",
    "bias_moments", "moments", "description", "set_fit_request", "set_score_request", "set_partial_fit_request",
    "get_metadata_routing", "get_params", "set_params",
}  # fmt: skip

sphinx_gallery_conf = {
    "examples_dirs": [str(ROOT / "examples")],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"\.py$",  # all of them run
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,  # its pages load scripts from another server
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 1e9,
    "within_subsection_order": "FileNameSortKey",
    "reset_argv": "parameter_tables.no_arguments",
}

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "fastff"
html_sidebars = {page: [] for page in ("index", "start", "sklearn", "homework")}  # they stand alone
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 7,
    "navbar_align": "left",
}


def leave_internal_out(app, kind, name, member, skip, options):
    return True if name in INTERNAL else None


def show_commands(app, kind, name, thing, options, lines):
    """The commands at the end of a docstring that is a command's help, as code."""
    for i, line in enumerate(lines):
        if line == "Examples:":
            lines[i : i + 1] = ["For example::", ""]


def link_gallery(app, page, source):
    """Links to examples, which lead to the scripts on GitHub, lead to their pages here."""
    source[0] = re.sub(r"\]\(((?:\.\./)*)\.\./examples/README\.rst\)", r"](\1gallery/index.rst)", source[0])
    source[0] = re.sub(r"\]\(((?:\.\./)*)\.\./examples/(\w+)\.py\)", r"](\1gallery/\2.rst)", source[0])


def setup(app):
    app.connect("autodoc-skip-member", leave_internal_out)
    app.connect("source-read", link_gallery)
    app.connect("autodoc-process-docstring", show_commands)
