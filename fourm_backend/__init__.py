"""4M and EgoM2P: any modality from any other, by masked decoding in steps."""
