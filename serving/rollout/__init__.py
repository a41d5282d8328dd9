"""Moving traffic between model versions by tag: what all workers should serve, who may change it, and when not."""
