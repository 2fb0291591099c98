"""Controllers, PPO training, and the folders of images they make."""
