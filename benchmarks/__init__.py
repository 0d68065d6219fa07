"""Side-by-side measurements of the bank; `python -m benchmarks --help` lists them, docs/performance.md explains them.

Whatever is compared runs in the same session, in turns, against the same server: the machine of a benchmark is rarely
alone, and only what ran side by side can be put into a ratio. Throughput is the median of the rounds; CPU time is that
of the processes themselves, from the kernel's books.
"""
