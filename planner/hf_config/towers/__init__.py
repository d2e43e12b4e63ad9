"""What stands beside the decoder: encoders of images and sound, and what joins them to it."""
