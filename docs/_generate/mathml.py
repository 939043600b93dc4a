"""Formulas as MathML, which browsers draw themselves: pages need neither a network nor LaTeX."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


def add_renderer(app: Any) -> None:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))


def _inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(_markup(node, block=False))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{_markup(node, block=True)}</div>\n')
    raise nodes.SkipNode


def _markup(node: nodes.Element, block: bool) -> str:
    text = node.astext()
    try:
        return str(tex2mathml(text, as_block=block))
    except MathError as error:
        LOGGER.warning("formula %r cannot be shown: %s", text, error, location=node)
        return f"<code>{text}</code>"
