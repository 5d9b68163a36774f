"""The authors' network, for converting their PyTorch weights.

    python main.py --config=configs/published.py:celebamask_hq --workdir=runs/published --mode=convert weights.pth
    python main.py --workdir=runs/published --mode=predict photo.jpg

The argument names the data set of the weights: celebamask_hq (the default), lapa or helen.
The published pipeline feeds BGR images; the converted checkpoint records that.
"""

from dmlcsr_jax.configs import default

DATASETS = ("celebamask_hq", "lapa", "helen")


def get_config(arg: str = ""):
    if arg not in ("", "debug", *DATASETS):
        raise ValueError(f"argument {arg!r} is unknown; it can be {', '.join(DATASETS)}")
    dataset, arg = (arg, "") if arg in DATASETS else (DATASETS[0], arg)
    config = default.get_config(arg, dataset=dataset)
    config.input.channel_order = "BGR"
    return config
