"""Radiance fields on voxel grids: where the grid lies, how rays are marched through it, how it learns."""
