"""What the platform is made of, one component a file."""
