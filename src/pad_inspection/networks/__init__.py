"""One file a network, and ``weights``, which knows where every weight file is found.

The networks take and give numpy arrays; torch and onnxruntime are imported when one is made.
"""
