"""The version of this client."""

VERSION = "1.0.0"
