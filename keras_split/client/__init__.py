"""The phone's side of a session: it never meets TensorFlow."""
