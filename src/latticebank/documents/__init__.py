"""What people sign: one module for each kind of document, its text form, and the rules that need nothing but the text.

Pure: no I/O, no database, no web. Whoever writes, checks or verifies a document reads it here, and nowhere else.
"""
