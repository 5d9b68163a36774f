"""Helen (Le et al., ECCV 2012; labels of Smith et al., CVPR 2013): 2,330 faces, LaPa's 11 classes."""

import dataclasses

from dmlcsr_jax.datasets import lapa

SPEC = dataclasses.replace(lapa.SPEC, name="helen", headline="overall", terms="Helen: research purposes only.")
