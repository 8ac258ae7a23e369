"""Configuration files: YAML to validated objects (needs pydantic and pyyaml, the `train` extra)."""
