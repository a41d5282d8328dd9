"""Learning, judging and handing over: model, batches, loop, metrics, calibration, export.

Pure: no MLflow, no DVC, no ``datasets``, no path baked in; it imports where only torch, transformers, accelerate and
scikit-learn are.
"""
