"""What breaks beneath the service, really broken, under real load. ``python -m tests.chaos``."""
