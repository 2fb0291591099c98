"""The small world of captioned scenes, and the recipe that trains the small Infinity on it."""
