"""The outside: web, images from outside, files, tracking, the terminal."""
