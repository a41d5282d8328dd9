"""Who may ask for what: keys, where they are kept, and the guard in front of all routes."""
