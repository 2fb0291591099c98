"""The synthetic signers: clips with labels, the frames they are drawn as, and the model of them."""
