"""How the documentation is built: `nox -s docs`."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any

project = "Kapusta"
author = "Kapusta contributors"
release = version_of("kapusta-core")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3

add_module_names = False
html_theme = "furo"
html_title = f"Kapusta {release}"
html_show_copyright = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_use_ivar = True

default_role = "any"  # `Change` in a docstring is whatever bears that name
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(_asyncio|asyncio|collections|contextlib|datetime|logging|types|typing|sqlalchemy)(\..*)?"),
    (r"py:.*", r"(kapusta\..*\.)?[A-Z](_co)?"),  # a type variable has no page
    (r"py:.*", r"kapusta\._\w+\..*"),  # what is at no door; a test sees to it that what is at one has a place
]


def at_the_door(app: Any, env: Any, node: Any, shown: Any) -> Any:
    """Lead a link to a public name's private home to where the name is documented."""
    name = node["reftarget"].rpartition(".")[2]
    python = env.domains.python_domain
    (place, *others) = [full for full in python.objects if full.rpartition(".")[2] == name] or [None]
    if place is None or others:
        return None
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", place, node, shown)


def setup(app: Any) -> None:
    """Take part in the build."""
    app.connect("missing-reference", at_the_door)
