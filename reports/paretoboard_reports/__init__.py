"""From records to a page: `view` does the arithmetic, `svg` draws, `render` writes HTML."""
