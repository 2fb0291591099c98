"""How close two images are, and how well an image fits its prompt."""
