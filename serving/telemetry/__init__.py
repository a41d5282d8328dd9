"""What the service tells of itself: metrics, logs and traces. None of them ever holds a review's text."""
