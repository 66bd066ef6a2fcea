"""The documentation as a site: `make docs`, then open var/docs/index.html."""

import os
import sys
from pathlib import Path

import django

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proj.settings")
django.setup()

import mydjangoapp  # noqa: E402

project = "Home feeds for Django"
version = release = mydjangoapp.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"{project} {version}"
myst_heading_anchors = 3
default_role = "code"  # docstrings write names as Markdown does
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
nitpick_ignore_regex = [("py:class", r"datetime\..*|mydjangoapp\.photos\..*")]
