"""What the headers of weight files say: exact bytes of every tensor, and beside a plan's own count.

Reading stays with the caller: everything here is given the bytes, of which it looks at the header.
"""
