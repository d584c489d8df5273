"""TOML files that a person wrote: read strictly, with the line of every key, all mistakes at once."""
