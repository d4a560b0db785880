"""Sphinx' settings for the site."""

project = "wsgateway"
author = "the authors of wsgateway"
extensions = ["myst_parser", "sphinx_copybutton"]
root_doc = "README"
exclude_patterns = ["**/node_modules"]
html_theme = "furo"
html_title = "wsgateway"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
# The anchors of headings are GitHub's.
myst_heading_anchors = 6
myst_links_external_new_tab = False
# Code of other kinds than a highlighter knows is text; titles that skip a level are the page's own.
suppress_warnings = ["misc.highlighting_failure", "myst.header", "toc.not_included"]
