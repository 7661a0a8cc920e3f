"""numpy, imported when it is first used: composing a run does without it, and takes a tenth less of its time.

Only for files that are imported to compose a run; ``NDArray`` and ``ArrayLike`` are for annotations alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["ArrayLike", "NDArray", "np"]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
else:

    class _Numpy:
        def __getattr__(self, name: str) -> Any:
            import numpy

            value = getattr(numpy, name)
            setattr(self, name, value)
            return value

    class NDArray:
        def __class_getitem__(cls, item: Any) -> type:
            return cls

    np = _Numpy()
    ArrayLike = NDArray
