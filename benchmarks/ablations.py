"""Measures what each part of the network gains: the dual graph, and both kinds of edges.

    python -m benchmarks.ablations [--seeds 0 1 2 3] [--config=configs/ablations.py]
    python -m benchmarks.ablations --config=configs/celebamask_hq.py -- --config.dataset.path=ROOT

A part that is left out takes its loss terms with it; of one kind of edges only the loss terms go, and its head learns
nothing. All runs are without self-regulation; `benchmarks.label_noise` measures that. The table shows the mean F1 in
percent on validation images after the last step and after the best one, and the difference to the network without these
parts with the same seed. Finished runs are lines of docs/evidence/ablations.jsonl and are not repeated; stopped ones
resume.
"""

from benchmarks import experiments

_ALONE = "--config.self_regulation.enabled=False"
_NO_GRAPH = "--config.model.dual_graph=False"
_NO_BINARY = ["--config.loss.binary_edge=0.0", "--config.loss.binary_edge_attention=0.0"]
_NO_CATEGORY = ["--config.loss.category_edge=0.0", "--config.loss.category_edge_attention=0.0"]
_NO_EDGES = ["--config.model.edge_heads=False", *_NO_BINARY, *_NO_CATEGORY]
ARMS = {
    "neither": [_ALONE, _NO_GRAPH, *_NO_EDGES],
    "dual graph": [_ALONE, *_NO_EDGES],
    "binary edges": [_ALONE, _NO_GRAPH, *_NO_CATEGORY],
    "category edges": [_ALONE, _NO_GRAPH, *_NO_BINARY],
    "both edges": [_ALONE, _NO_GRAPH],
    "all": [_ALONE],
}


if __name__ == "__main__":
    experiments.main(__doc__, "ablations", "configs/ablations.py", ARMS, seeds=4)
