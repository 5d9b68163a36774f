"""What `predict` writes, as the command line says it."""

import dataclasses
from collections.abc import Sequence

from dmlcsr_jax.datasets import FaceSpec, get_spec
from dmlcsr_jax.errors import UserError
from dmlcsr_jax.types import Box

FORMS = ("labels", "overlays", "masks", "cutout", "sheet", "json")


@dataclasses.dataclass(frozen=True)
class Options:
    """What `predict` writes.

    Attributes:
      write: any of `FORMS`.
      remap: the data set whose classes are written; "" for those of the checkpoint.
      smooth: number of video frames that vote on each pixel; odd, 1 for no smoothing.
      boxes: the faces, if there is only one image.
      parts: the parts in masks and cut-outs; all but the background if empty.
      skip_existing: whether inputs are left out whose results are there already.

    Raises:
      UserError: an option is invalid, or two do not go together.
    """

    write: Sequence[str] = ("labels", "overlays")
    remap: str = ""
    smooth: int = 1
    boxes: tuple[Box, ...] = ()
    parts: Sequence[str] = ()
    skip_existing: bool = False

    def __post_init__(self):
        for form in self.write or ("nothing",):
            if form not in FORMS:
                raise UserError(
                    f"--write={','.join(self.write)}: {form!r} cannot be written; choose {', '.join(FORMS)}"
                )
        if self.smooth < 1 or self.smooth % 2 == 0:
            raise UserError(f"--smooth={self.smooth} is not an odd number of frames; give 1, 3, 5 or more")
        if self.remap:
            try:
                get_spec(self.remap)
            except UserError as error:
                raise UserError(f"--remap={self.remap}: {error}") from error
        if self.parts and not {"masks", "cutout"} & set(self.write):
            raise UserError(
                f"--parts={','.join(self.parts)} selects parts of masks and cut-outs; add --write=masks or cutout"
            )
        if self.skip_existing and "sheet" in self.write:
            raise UserError("--skip_existing cannot go on with contact sheets; leave sheet out of --write")

    def check_parts(self, spec: FaceSpec) -> None:
        """Raises UserError, with all parts of `spec`, if one of `parts` is none of them."""
        for part in self.parts:
            if part not in spec.class_names:
                raise UserError(
                    f"--parts={','.join(self.parts)}: {part!r} is not a part; choose {', '.join(spec.class_names)}"
                )
