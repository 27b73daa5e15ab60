"""The splat model of the object: its file, rendering it, and aligning it with a picture.

``renderer`` draws with the C++ rasterizer on the CPU or with gsplat on an NVIDIA GPU;
``pose_refiner`` aligns and verifies poses; ``gaussians`` reads and writes the model.
"""
