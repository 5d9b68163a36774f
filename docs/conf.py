"""Sphinx configuration; `make docs` builds docs/_build/html."""

import sys
from typing import TypeVar

from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains import Domain

import dmlcsr_jax

project = "dmlcsr_jax"
author = "The dmlcsr_jax authors"
version = release = dmlcsr_jax.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "templates"]
templates_path = ["templates"]
html_theme = "furo"

myst_heading_anchors = 3

# Docstrings are in Google's style, with code in single backquotes.
default_role = "code"
napoleon_use_ivar = True
autosummary_generate = True
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_mock_imports = ["onnx"]  # an extra, which the only module that needs it imports at its head

# A reference to a name of this package must resolve; names of other packages are not looked up.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!dmlcsr_jax\b).*")]


def setup(app: Sphinx) -> None:
    """Turns off warnings about type variables, which have no page to refer to."""
    app.connect("warn-missing-reference", _is_type_variable)


def _is_type_variable(app: Sphinx, domain: Domain, node: pending_xref) -> bool | None:
    module, _, name = node["reftarget"].rpartition(".")
    return isinstance(getattr(sys.modules.get(module), name, None), TypeVar) or None
