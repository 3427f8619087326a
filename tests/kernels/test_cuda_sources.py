"""What the CUDA sources must keep to and no machine without a card can see going wrong."""

import re
from pathlib import Path

CUDA = Path(__file__).parents[2] / "csrc"


def test_shared_memory_is_raised_in_one_place_and_never_to_what_one_call_needs():
    # Raised to a call's own bytes, another thread's smaller call could lower it between attribute and launch.
    calls = {
        path.name: re.findall(r"cudaFuncSetAttribute\(([^;]*)\);", path.read_text())
        for path in sorted(CUDA.rglob("*.cu*"))
    }
    raised = {
        name: found
        for name, all_of in calls.items()
        if (found := [call for call in all_of if "MaxDynamicSharedMemorySize" in call])
    }
    assert list(raised) == ["device.cuh"]
    (arguments,) = raised["device.cuh"]
    bytes_asked = "".join(arguments.split()).split("MaxDynamicSharedMemorySize,")[1]
    assert bytes_asked == "shared_of(device)-static_cast<int>(own.sharedSizeBytes)"
