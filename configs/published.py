"""The network exactly as its authors published it: their weights, read here.

    python main.py --config=configs/published.py:celebamask_hq --workdir=runs/published --mode=convert weights.pth
    python main.py --workdir=runs/published --mode=predict photo.jpg

The argument names the data set that the weights were trained on: celebamask_hq (the default), lapa or helen.
Their pipeline gives the network BGR, which the checkpoint then records.
"""

from dmlcsr_jax.configs import default


def get_config(arg: str = ""):
    config = default.get_config()
    if arg in ("celebamask_hq", "lapa", "helen"):
        config.dataset.name, arg = arg, ""
    else:
        config.dataset.name = "celebamask_hq"
    config.input.channel_order = "BGR"
    return default.finish(config, arg)
