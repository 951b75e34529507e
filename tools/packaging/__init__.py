"""nh as a package of Debian, as a container and on Kubernetes."""
