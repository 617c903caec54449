"""The settings: read from the environment once, validated, and frozen."""
