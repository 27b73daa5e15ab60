"""What runs before and beside the line: data sets, model building, calibration, evaluation.

``build`` makes a bundle (``build_model``, ``fit_gaussians``, ``calibrate``), ``evaluate`` measures
one, ``render_dataset`` makes pictures; the modules with ``add_arguments`` are commands of `pad`.
"""
