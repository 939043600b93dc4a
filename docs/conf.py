"""Settings of the documentation site; ``make docs`` builds it into ``docs/_build/html``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))  # _generate
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # dss-marl, in chapters
os.environ["PYTHONPATH"] = os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")])  # this checkout's

import _generate  # noqa: E402

from dss_marl import __version__  # noqa: E402

os.environ["IPYTHONDIR"] = str(_generate.kernel_settings(DOCS))  # not those of whoever builds

project = "dss_marl"
author = "The dss_marl authors"
project_copyright = author
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["_build", "_extra", "_generate"]
(DOCS / "_extra").mkdir(exist_ok=True)
html_extra_path = ["_extra"]  # the scenario file's JSON Schema; notebook and script of each chapter

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(_generate.execution_cache(DOCS))
nb_execution_in_temp = True
nb_execution_show_tb = True  # and go on, so that one build shows every chapter that fails; -W makes it fail
nb_execution_timeout = 300  # [s] for one cell
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 90

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"dss_marl {release}"
html_theme_options = {
    "source_repository": f"{_generate.REPOSITORY}/",
    "source_branch": "main",
    "source_directory": "docs/",
}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sphinx = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: object) -> None:
    """Write the generated pages before Sphinx looks for pages."""
    _generate.connect(app)
