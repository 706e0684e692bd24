"""Configuration: strict typed settings (pydantic), YAML files, `key=value` overrides and search spaces."""
