"""What every room may lean on: errors, safe files, and the words all rooms share."""
