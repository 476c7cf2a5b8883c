"""What becomes of the platform when a million jobs lie in it, and when it works for an hour."""
