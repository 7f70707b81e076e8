"""Pictures from outside, decoded safely, and caches of what was measured of them."""
