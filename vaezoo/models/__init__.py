"""The model, and the standalone Keras files made of it."""
