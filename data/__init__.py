"""What training and serving share: text cleaning, encoding, labels, and the formats both sides agree on.

Pure Python plus numpy and ``tokenizers``; needs neither torch, MLflow, DVC nor a network.
"""
