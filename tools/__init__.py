"""Small developer tools: none of this is installed with nh but rtpload, which `nh load` runs."""
