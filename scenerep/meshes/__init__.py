"""Surfaces and points out of splat scenes, through open3d and trimesh: surface.py makes them, write.py stores them.

Nothing is imported here: config.py belongs to the command line, whose help must not load open3d.
"""
