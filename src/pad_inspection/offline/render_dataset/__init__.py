"""Renders data sets of brick vehicles on a conveyor with exact defect masks.

Geometry, stable poses, defects, cameras and masks are planned in plain Python (``ldraw``,
``audit``, ``poses``, ``defects``, ``idcast``, ``plan``). A renderer turns each planned scene into
pictures: ``blender`` drives Cycles in a process and environment of its own, ``light`` shades ray
casts for tests. ``generate`` ties them together and writes the folder.
"""
