"""SignON sign-language embedding: keypoints of a video in, an array of embeddings out."""
