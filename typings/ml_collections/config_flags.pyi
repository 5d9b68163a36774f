"""What `dmlcsr_jax/cli.py` uses of ml_collections.config_flags."""

from absl import flags
from ml_collections import ConfigDict

def DEFINE_config_dict(
    name: str,
    config: ConfigDict,
    help_string: str = ...,
    flag_values: flags.FlagValues = ...,
    *,
    sys_argv: list[str] | None = ...,
) -> flags.FlagHolder[ConfigDict]: ...
