"""Crash states: what the disk may hold after a crash at any point of a traced run, each opened by the real recovery.

::

    load.py    a shard's store under a mixed load             traced by strace, with the data of every write
    trace.py   its system calls                               → operations on files and folders, in order
    images.py  a crash point and a choice                     → files as a kill or a power cut may leave them
    check.py   each image, in a process of its own            → opens, audited, whole batches, nothing synced missing

After Pillai et al., "All File Systems Are Not Created Equal: On the Complexity of Crafting Crash-Consistent
Applications" (OSDI 2014). What may be lost is what POSIX lets be lost: a write that no later sync of its file covers,
in any part of its 512-byte sectors and in any order with others; an entry of a folder that no later sync of the folder
covers.
"""
