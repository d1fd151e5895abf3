"""KITTI's drives as frames: where images, depth and calibration lie, which lists name frames, how one is read.

The project ships no list. Scenes are drives, whose frames are 0.1 s apart and whose two cameras show one moment.
"""
