"""The demo town: customers, merchants and staff of a bank to play with, and the payments that they make.

They do what people do, and nothing else: through the door, with sessions of their own, everything signed by their own
devices. The operator does only what nobody else may: opening the bank's own accounts, and naming the first two admins.
What opens the bank to them lies in the folder `demo` of the data folder (`papers`), so a town is for demonstration only.
"""
