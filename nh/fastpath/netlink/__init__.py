"""rtnetlink: interfaces, routes, and the kernel's notifications about them."""
