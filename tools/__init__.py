"""Small developer tools: none of this is installed with nh."""
