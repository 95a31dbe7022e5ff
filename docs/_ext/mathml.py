"""Formulas as MathML, which browsers draw by themselves: no script, and nothing from another server.

docutils, which Sphinx is built on, turns TeX into MathML. Browsers from 2023 on draw that.
"""

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.errors import SphinxError


def visit_inline(self, node):
    self.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def visit_block(self, node):
    label = "" if node["number"] is None else f'<span class="eqno">({node["number"]})</span>'
    self.body.append(f'<div class="formula">{label}{_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node, as_block):
    try:
        return latex2mathml.tex2mathml(node.astext(), as_block=as_block)
    except Exception as error:  # of several classes, by the version of docutils
        raise SphinxError(f"{node.source}:{node.line}: no formula: {error}: {node.astext()}") from error


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True}
