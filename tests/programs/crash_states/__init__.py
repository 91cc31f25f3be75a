"""Crash states: rebuilds what the disk may hold after a crash at any point of a traced run, and opens it.

::

    load.py    a shard's store under a mixed load             traced by strace, with the data of every write
    trace.py   its system calls                               → operations on files and folders, in order
    images.py  a crash point and a choice                     → files as a kill or a power cut may leave them
    check.py   each image, in a process of its own            → opened, audited, whole batches, nothing synced missing

After Pillai et al., "All File Systems Are Not Created Equal: On the Complexity of Crafting Crash-Consistent
Applications" (OSDI 2014). An image may lose what POSIX allows to be lost. That is a write that no later sync of its
file covers, in any part of its 512-byte sectors and in any order with other writes; and an entry of a folder that no
later sync of the folder covers.
"""
