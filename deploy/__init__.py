"""From a Bento to a watched fleet: the container, and files for one host and for many."""
