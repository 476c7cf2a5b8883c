"""The jobs service in a world of our own: one seed decides who moves next, how long things take, and what breaks."""
