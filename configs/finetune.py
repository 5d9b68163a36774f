"""The shipped network, trained further on your own images and labels: minutes on two cores for fifty photos.

    python main.py --config=configs/finetune.py --config.dataset.path=ROOT --workdir=runs/tuned

ROOT holds {train,val}/{images,labels} and label_names.txt with one class per line. The classes may be any: network and
input are those of "portrait", and the layers that depend on the classes start fresh if they differ in number. The terms
of the shipped weights apply to what is trained from them; set --config.dataset.terms to those of your images.
"""

from dmlcsr_jax import checkpoints
from dmlcsr_jax.configs import default

START = "portrait"


def get_config(arg: str = ""):
    config = default.finish(default.get_config(dataset="folder"), arg)
    metadata = checkpoints.load_metadata(START)
    config.init_from = START
    config.model.update(metadata.model)
    if arg != "debug":
        config.input.update(height=metadata.size[0], width=metadata.size[1], color_jitter=0.3)
        config.optimizer.update(learning_rate=0.01, schedule="poly", warmup_epochs=1)
        config.training.update(batch_size=8, epochs=40, log_every=5, checkpoint_every=100)
        config.evaluation.update(every_epochs=10, batch_size=8)
        config.self_regulation.enabled = False
    return config
