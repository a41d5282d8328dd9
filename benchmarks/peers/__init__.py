"""Other ways to serve the same weights, each as its own documentation shows it; ``MODEL_FOLDER`` names the weights."""
