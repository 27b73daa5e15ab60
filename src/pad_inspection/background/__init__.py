"""What is object and what is behind it: segmentation, inpainting, composition of the reference."""
