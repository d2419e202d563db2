"""What phone and server say to each other, and what is accepted of it."""
