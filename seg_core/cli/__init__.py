"""Command lines of the library; the torch-free core never imports this package."""
