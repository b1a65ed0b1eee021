"""The YAML that people write: a closed subset, read with positions so that every mistake names its line."""
