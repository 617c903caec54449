"""The receive buffer of picows 2.3.1, which grows and never shrinks.

It doubles until it has room for the largest frame, or for all that the kernel has received: a client that has once sent
1 MB would occupy 2 MB of memory for as long as it is connected.
"""

import ctypes
import mmap
import sys

from picows.picows import WSProtocol  # type: ignore[attr-defined]  # the stub leaves it out

# Bytes that stay: small messages need no more.
KEPT = 4 * 1024


def release(protocol: WSProtocol) -> None:
    """Give the memory of a buffer that is larger than KEPT back to the system; what it contains stays.

    The address range stays, and the next large message gets new memory.
    """
    # The part of the buffer that the next bytes are read into. A subclass may return less of it.
    free: memoryview = WSProtocol.get_buffer(protocol, -1)
    if len(free) > KEPT and sys.platform == "linux":
        start = ctypes.addressof(ctypes.c_char.from_buffer(free))
        # Whole pages. Others may contain what belongs to somebody else.
        first, end = (address // mmap.PAGESIZE * mmap.PAGESIZE for address in (start + KEPT, start + len(free)))
        _madvise(first, end - first, mmap.MADV_DONTNEED)  # madvise(2): they read as zeros from now on


_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
