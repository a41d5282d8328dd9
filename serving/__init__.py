"""The service: from a request to a verdict. Imports nothing of ``training`` or ``pipelines``."""
