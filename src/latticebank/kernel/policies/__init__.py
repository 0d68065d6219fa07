"""The Cedar policies of the kernel: what the bank itself shows, and what the operator may do."""
