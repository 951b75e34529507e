"""Attaching the program to interfaces: TCX links, or clsact filters on kernels without TCX."""
