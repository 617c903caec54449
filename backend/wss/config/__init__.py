"""The settings: read from the environment once, validated, frozen."""
