"""What runs the network of a parser: JAX, onnxruntime or OpenVINO, with the same answers.

`base.py` is the contract; `sources.py` says what there is to run; each engine is one file; `choosing.py` picks the
fastest. A module imports its library only when its engine is made.
"""
