"""The views of the page, by subject: each runs a query and renders a template."""
