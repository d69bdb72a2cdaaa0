"""Training of voxel scenes."""
