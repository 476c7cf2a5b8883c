"""`jobplane doctor`: looks at everything that a platform needs, whatever of it is down, and says what to do."""
