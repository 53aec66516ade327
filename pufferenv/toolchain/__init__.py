"""What is compiled from what, and when."""
