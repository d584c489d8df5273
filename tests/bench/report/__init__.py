"""How fast results become a site: read, aggregate, render."""
