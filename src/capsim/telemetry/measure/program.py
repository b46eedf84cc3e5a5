"""What the kit's own server does to its heap, by Node: fitted on series made with it."""

from __future__ import annotations

from capsim.workload.companion import Program

# Read off one series each (500/s for 40 s, no cap): V8's log of collections gave the two rates and what a full
# collection leaves, /proc the mapped files, and the rest of the resident memory beyond the heap is off it. Within 10 %.
# Of that, 1.2 % of the heap is V8's own and grows with it (`off_heap_share`, fitted on other programs).
_KIT = {
    "20": Program(
        base_live_mib=8.0, allocated_kib=17.0, promoted_kib=2.4, file_mib=41.4, off_heap_mib=3.9, off_heap_share=0.012
    ),
    "24": Program(
        base_live_mib=8.5, allocated_kib=14.0, promoted_kib=1.1, file_mib=47.6, off_heap_mib=6.4, off_heap_share=0.012
    ),
}


def kit_program(version: str) -> Program:
    """Constants of the kit's server under a version of Node; the model's own where none were fitted."""
    return _KIT.get(version.split(".")[0], Program())
