"""Settings of every run whose numbers are published."""
